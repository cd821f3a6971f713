-- KEYS: dead letters. ARGV: id to begin with, last id, how the reason begins, how the message's id begins,
-- maximum number, ids of messages if only these are meant. Returns (the last id that was looked at, or nothing
-- at the end; the ids of those found): at most a thousand entries are looked at in one go, a few at a time, for
-- they may be large.
local dead, from, last = KEYS[1], ARGV[1], ARGV[2]
local reason, message, limit = ARGV[3], ARGV[4], tonumber(ARGV[5])
local STEP, MOST = 16, 1000
local meant = {}
for i = 6, #ARGV do meant[ARGV[i]] = true end
local found, looked, at = {}, 0, false
while #found < limit and looked < MOST do
  local entries = redis.call('XRANGE', dead, from, last, 'COUNT', STEP)
  for _, entry in ipairs(entries) do
    local field = {}
    for i = 1, #entry[2], 2 do field[entry[2][i]] = entry[2][i + 1] end
    at = entry[1]
    if string.sub(field.reason or '', 1, #reason) == reason
      and string.sub(field.id or at, 1, #message) == message
      and (#ARGV < 6 or meant[field.id or at]) then
      found[#found + 1] = at
      if #found == limit then break end
    end
  end
  looked = looked + #entries
  if #entries < STEP or at == last then return {false, found} end
  from = '(' .. at
end
return {at, found}
