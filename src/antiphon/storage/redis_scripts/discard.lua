-- Remove a staged value, unless it was committed: then its time has no end.  A
-- commit whose answer was lost must not have its data removed.
-- KEYS: generation
if redis.call('TTL', KEYS[1]) >= 0 then
  return redis.call('UNLINK', KEYS[1])
end
return 0
