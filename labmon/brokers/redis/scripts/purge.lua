-- KEYS: lane. ARGV: group, the last id to drop, maximum number. Drops what no consumer holds: what was given
-- back, then what was not delivered yet. In a script, or somebody might take it while it is being dropped.
-- Returns how many are gone, and how many there were.
local lane, group, upto, limit = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local HIGHEST = '18446744073709551615-18446744073709551615'
local ids = {}
for _, one in ipairs(redis.call('XPENDING', lane, group, '-', upto, limit, 'released')) do
  ids[#ids + 1] = one[1]
end
if #ids > 0 then
  redis.call('XACK', lane, group, unpack(ids))
else
  local last = '0-0'
  for _, about in ipairs(redis.call('XINFO', 'GROUPS', lane)) do
    local field = {}
    for i = 1, #about, 2 do field[about[i]] = about[i + 1] end
    if field.name == group then last = field['last-delivered-id'] end
  end
  local left = last == HIGHEST and {} or redis.call('XRANGE', lane, '(' .. last, upto, 'COUNT', limit)
  for _, one in ipairs(left) do
    ids[#ids + 1] = one[1]
  end
end
local dropped = #ids > 0 and redis.call('XDEL', lane, unpack(ids)) or 0
return {dropped, #ids}
