-- Forget a lease, unless its owner has renewed it.
-- KEYS: leases    ARGV: owner, until when the lease lasted that is to be forgotten
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found and string.match(found, '^%d+') == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
