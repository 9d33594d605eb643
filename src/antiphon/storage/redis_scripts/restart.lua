-- A Redis that was restarted may have lost its last writes, invalidations among them: what it
-- has cached is not to be believed before it was confirmed.  Entries of another layout are
-- dropped.  Called on each new connection until it returns 1; drops a page of entries a call.
-- KEYS: state keys    ARGV: prefix, layout, run id of the server, page, grace
local state, keys = KEYS[1], KEYS[2]
local run = ARGV[2] .. '/' .. ARGV[3]
local known = redis.call('HGET', state, 'run')
if known == run then
  return 1
end
write_without_memory(state)
if known then
  redis.call('HSET', state, 'doubt', '1')
end
if known and string.match(known, '^(%d+)/') == ARGV[2] then
  suspect_all(state)
  redis.call('HSET', state, 'run', run)
  return 1
end
local page = redis.call('ZRANGE', keys, 0, ARGV[4] - 1)
if #page > 0 then
  drop_all(state, ARGV[1], keys, page, same('-', page), ARGV[5])
  -- Of a half that a crash left there may be a key without an entry.
  redis.call('ZREM', keys, unpack(page))
  return 0
end
suspect_all(state)
redis.call('HSET', state, 'bytes', '0', 'run', run)
return 1
