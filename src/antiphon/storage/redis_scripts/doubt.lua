-- Stop vouching for the cache.
-- KEYS: state
write_without_memory(KEYS[1])
return redis.call('HSET', KEYS[1], 'doubt', '1')
