-- Have all entries be confirmed before they are served again, and end all reservations.
-- KEYS: state
write_without_memory(KEYS[1])
local clock = redis.call('HINCRBY', KEYS[1], 'clock', 1)
return redis.call('HSET', KEYS[1], 'suspected', text(clock), 'floor', text(clock))
