-- Put chunks aside, and give them an end of their time in the same step.
-- KEYS: generation    ARGV: seconds, then index and bytes of each chunk
--
-- A repetition, or a call that was stuck in the network, may come after the commit:
-- then the generation has no end of its time any more, and must not get one.
if redis.call('TTL', KEYS[1]) == -1 then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return redis.call('EXPIRE', KEYS[1], ARGV[1])
