-- KEYS: lane. ARGV: group, consumer, 1 for failed or 0, ids in order. Gives those back that are still the
-- consumer's. JUSTID leaves the count of deliveries as it is; RETRYCOUNT makes it what it was before this one.
local lane, group, me, failed = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
find(lane, group, me, ARGV[4], ARGV[#ARGV])
for i = 4, #ARGV do
  local times = ours[ARGV[i]]
  if times then
    redis.call('XCLAIM', lane, group, 'released', 0, ARGV[i], 'RETRYCOUNT', times - 1 + failed, 'JUSTID')
  end
end
