-- Vouch for the cache.
-- KEYS: state    ARGV: run
local run = redis.call('HGET', KEYS[1], 'run') or ''
if run ~= ARGV[1] then
  return run
end
write_without_memory(KEYS[1])
redis.call('HINCRBY', KEYS[1], 'beat', 1)
redis.call('HDEL', KEYS[1], 'doubt')
return 1
