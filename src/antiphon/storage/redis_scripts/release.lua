-- Forget a lease, unless its owner has renewed it.
-- KEYS: leases    ARGV: owner, the lease as it was read
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
