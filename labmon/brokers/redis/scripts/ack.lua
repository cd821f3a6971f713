-- KEYS: lane. ARGV: group, consumer, ids in order. Forgets those that are still the consumer's.
local lane, group, me = KEYS[1], ARGV[1], ARGV[2]
find(lane, group, me, ARGV[3], ARGV[#ARGV])
local ids = {}
for i = 3, #ARGV do
  if ours[ARGV[i]] then ids[#ids + 1] = ARGV[i] end
end
if #ids > 0 then
  redis.call('XACK', lane, group, unpack(ids))
  redis.call('XDEL', lane, unpack(ids))
end
