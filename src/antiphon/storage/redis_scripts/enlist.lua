-- Note that a generation is being staged, and until when; and remove some whose time is over.
-- KEYS: staging generation    ARGV: prefix, token or "", seconds, how many to remove at most
--
-- Staged chunks have a time to live, but when a crash tears that from them they would stay for
-- ever.  Called before they are staged, and taken back by what commits or discards them: what is
-- noted belongs to no key.
local staging, prefix, token = KEYS[1], ARGV[1], ARGV[2]
local time = tonumber((now()))
-- A repetition that comes after the commit must not note what now belongs to a key.
if token ~= '' and redis.call('TTL', KEYS[2]) ~= -1 then
  redis.call('ZADD', staging, text(time + tonumber(ARGV[3])), token)
end
local over = redis.call('ZRANGEBYSCORE', staging, '-inf', '(' .. text(time), 'LIMIT', 0, ARGV[4])
for _, old in ipairs(over) do
  redis.call('UNLINK', prefix .. 'g:' .. old)
  redis.call('ZREM', staging, old)
end
return #over
