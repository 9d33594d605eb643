-- Put chunks aside.  One step, so that no chunk is ever without an end of its time.
-- KEYS: generation    ARGV: seconds, then index and bytes of each chunk
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return redis.call('EXPIRE', KEYS[1], ARGV[1])
