-- KEYS: lane, dead letters. ARGV: group, consumer, 1 for the high lane or 0, reason, error, then five values
-- for each entry in order: its id, the message's id, routing key, body, attempt.
-- A server whose memory is full refuses XADD, unless the script has written something before: then it lets
-- it finish. Without the XCLAIM, which changes nothing, no expired message could leave a full server.
local lane, dead, group, me = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
find(lane, group, me, ARGV[6], ARGV[#ARGV - 4])
for i = 6, #ARGV, 5 do
  local id = ARGV[i]
  if ours[id] then
    redis.call('XCLAIM', lane, group, me, 0, id, 'JUSTID')
    redis.call('XADD', dead, '*', 'id', ARGV[i + 1], 'key', ARGV[i + 2], 'body', ARGV[i + 3],
      'high', ARGV[3], 'reason', ARGV[4], 'error', ARGV[5], 'attempt', ARGV[i + 4], 'entry', id)
    redis.call('XACK', lane, group, id)
    redis.call('XDEL', lane, id)
  end
end
