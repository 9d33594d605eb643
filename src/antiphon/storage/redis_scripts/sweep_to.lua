-- Put a position in place of another; return 1, or 0 if another one is there.
-- KEYS: outbox    ARGV: expected position or "", position
if (redis.call('HGET', KEYS[1], 'swept') or '') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'swept', ARGV[2])
return 1
