-- Drop entries to make room; return how many there were.
-- KEYS: state keys    ARGV: prefix of Redis keys, grace in seconds, key, key, …
write_without_memory(KEYS[1])
local gone = {unpack(ARGV, 3)}
local _, dropped = drop_all(KEYS[1], ARGV[1], KEYS[2], gone, same('-', gone), ARGV[2])
return dropped
