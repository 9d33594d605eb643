-- A Redis that was restarted may have lost its last writes, invalidations among
-- them: what it has cached is not to be believed.  Called on each new connection
-- until it returns 1; drops a page of entries a call.
-- KEYS: state keys    ARGV: prefix, run of the server, page, grace
local state, keys = KEYS[1], KEYS[2]
local known = redis.call('HGET', state, 'run')
if known == ARGV[2] then
  return 1
end
write_without_memory(state)
if known then
  redis.call('HSET', state, 'doubt', '1')
end
local page = redis.call('ZRANGE', keys, 0, ARGV[3] - 1)
if #page > 0 then
  drop_all(state, ARGV[1], keys, page, same('-', page), ARGV[4])
  -- Of a half that a crash left there may be a key without an entry.
  redis.call('ZREM', keys, unpack(page))
  return 0
end
-- Reservations are voided as by an invalidation of all keys.
local clock = text(redis.call('HINCRBY', state, 'clock', 1))
redis.call('HSET', state, 'floor', clock, 'bytes', '0', 'run', ARGV[2])
return 1
