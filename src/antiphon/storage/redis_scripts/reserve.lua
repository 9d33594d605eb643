-- Note that a read of the backing store begins now.
-- KEYS: state reservation    ARGV: seconds
local clock = redis.call('HGET', KEYS[1], 'clock') or '0'
return redis.call('SET', KEYS[2], clock, 'EX', ARGV[1])
