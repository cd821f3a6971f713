-- KEYS: dead letters, high lane, normal lane. ARGV: ids of dead letters. Moves each to the lane it came from,
-- under a new id. One that is gone by now was put back or dropped by somebody else. Returns how many.
local dead, moved = KEYS[1], 0
for _, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', dead, id, id)[1]
  if found then
    local field = {}
    for i = 1, #found[2], 2 do field[found[2][i]] = found[2][i + 1] end
    redis.call('XADD', field.high == '1' and KEYS[2] or KEYS[3], '*',
      'id', field.id or id, 'key', field.key or '', 'body', field.body or cjson.encode(field))
    redis.call('XDEL', dead, id)
    moved = moved + 1
  end
end
return moved
