-- KEYS: lane. ARGV: group, consumer, maximum number of entries, maximum number of bytes, 1 to look at what was
-- given back or 0. Returns what was given back, as (times delivered before, id, fields), then what is new.
-- The first entry is taken however large it is. What a read brought beyond the bytes is given back.
-- A deleted entry is forgotten: since 7.0 XCLAIM does so itself, and returns nothing.
local lane, group, me = KEYS[1], ARGV[1], ARGV[2]
local limit, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local given, new = {}, {}

local function weigh(entry)
  for _, value in ipairs(entry[2]) do room = room - #value end
end

if ARGV[5] == '1' then
  for _, one in ipairs(redis.call('XPENDING', lane, group, '-', '+', limit, 'released')) do
    if room <= 0 then break end
    local entry = redis.call('XCLAIM', lane, group, me, 0, one[1])[1]
    if entry then
      given[#given + 1] = {one[4], entry[1], entry[2]}
      weigh(entry)
    else
      redis.call('XACK', lane, group, one[1])
    end
  end
end

while room > 0 and #given + #new < limit do
  local step = math.min(64, limit - #given - #new)
  local reply = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', step, 'STREAMS', lane, '>')
  local found = reply and reply[1][2] or {}
  for _, entry in ipairs(found) do
    if room > 0 then
      new[#new + 1] = entry
      weigh(entry)
    else
      redis.call('XCLAIM', lane, group, 'released', 0, entry[1], 'RETRYCOUNT', 0, 'JUSTID')
    end
  end
  if #found < step then break end
end
return {given, new}
