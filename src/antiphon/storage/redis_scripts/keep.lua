-- Have a generation that waits for its end wait anew: somebody reads it.
-- KEYS: generation    ARGV: seconds that it is kept from now on at least
local ttl = redis.call('TTL', KEYS[1])
if ttl >= 0 and ttl < tonumber(ARGV[1]) then
  return redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return 0
