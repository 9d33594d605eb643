-- Remove a staged value, unless it was committed: then its time has no end.  A
-- commit whose answer was lost must not have its data removed.
-- KEYS: generation staging    ARGV: token
if redis.call('TTL', KEYS[1]) >= 0 then
  redis.call('UNLINK', KEYS[1])
  return redis.call('ZREM', KEYS[2], ARGV[1])
end
return 0
