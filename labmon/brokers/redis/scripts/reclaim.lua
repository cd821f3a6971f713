-- KEYS: lane. ARGV: group, lease in milliseconds of consumers whose names hold none, names of those that are
-- gone. Entries whose owner is gone, or has had them for longer than its lease, are given back; then those
-- consumers that are gone are deleted. In a script, because deleting a consumer drops what it holds, and
-- because its owner may ack between a look at the idle time and the claim.
local lane, group, lease = KEYS[1], ARGV[1], ARGV[2]
local gone, moved = {}, 0
for i = 3, #ARGV do gone[ARGV[i]] = true end
for _, one in ipairs(redis.call('XPENDING', lane, group)[4] or {}) do
  local name = one[1]
  local named = string.match(name, '%-%x%x%x%x%x%x%x%x/(%d+)$')
  if named and #named > 15 then named = nil end -- no number that Redis takes
  local idle = gone[name] and 0 or named or lease
  local found = name ~= 'released'
    and redis.call('XPENDING', lane, group, 'IDLE', idle, '-', '+', 5000, name) or {}
  if #found > 0 then
    local claim = {'XCLAIM', lane, group, 'released', 0}
    for _, entry in ipairs(found) do claim[#claim + 1] = entry[1] end
    claim[#claim + 1] = 'JUSTID'
    redis.call(unpack(claim))
    moved = moved + #found
  end
end
for name in pairs(gone) do
  if #redis.call('XPENDING', lane, group, '-', '+', 1, name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', lane, group, name)
  end
end
return moved
