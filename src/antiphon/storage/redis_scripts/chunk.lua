-- Return one chunk of a large value; a generation that waits for its end waits anew.
-- KEYS: generation    ARGV: index, seconds that it is kept from now on at least
local chunk = redis.call('HGET', KEYS[1], ARGV[1])
if chunk then
  local ttl = redis.call('TTL', KEYS[1])
  if ttl >= 0 and ttl < tonumber(ARGV[2]) then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
  end
end
return chunk
