-- A Redis that was restarted may have lost its last writes, invalidations among
-- them: what it has cached is not to be believed.  Called on each new connection
-- until it returns 1; drops a page of entries a call.
-- KEYS: state keys note    ARGV: prefix, run id of the server, seconds of a note, page, grace
local state, keys = KEYS[1], KEYS[2]
local known = redis.call('HGET', state, 'run')
if known == ARGV[2] then
  return 1
end
write_without_memory(state)
if known then
  redis.call('HSET', state, 'doubt', '1')
end
local page = redis.call('ZRANGE', keys, 0, ARGV[4] - 1)
if #page > 0 then
  for _, key in ipairs(page) do
    drop(ARGV[1] .. 'cache:k:' .. key, keys, key, '-', ARGV[5])
  end
  return 0
end
-- Reservations are voided as by an invalidation of all keys.
write_note(state, KEYS[3], '-', ARGV[3])
redis.call('ZADD', ARGV[1] .. 'cache:lengths', '+inf', 0)
redis.call('HSET', state, 'run', ARGV[2])
return 1
