-- KEYS: lanes. ARGV: group, consumer. Forgets a consumer that holds nothing.
for _, lane in ipairs(KEYS) do
  if #redis.call('XPENDING', lane, ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', lane, ARGV[1], ARGV[2])
  end
end
