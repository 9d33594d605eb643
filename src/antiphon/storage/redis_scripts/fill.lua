-- Keep a value, if its reservation stands and nothing newer is known.  Return 1 if it was kept.
-- KEYS: state reservation keys entry notes prefix-notes lengths
-- ARGV: prefix, key, header, metadata, data or "", grace in seconds
local state, reservation, keys, entry = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, key, header = ARGV[1], ARGV[2], ARGV[3]
local version, _, _, size, generation, chunk = string.match(header, HEADER)

local may_keep, noted = stands(state, reservation, KEYS[5], KEYS[6], KEYS[7], key)
for _, latest in ipairs(noted) do
  may_keep = may_keep and not is_older(version, latest)
end
local present = redis.call('HMGET', entry, 'h', 'c')
local old_generation, old_size = '-', '0'
if present[1] then
  local kept
  kept, _, _, old_size, old_generation = string.match(present[1], HEADER)
  if is_checked(present[2], redis.call('HGET', state, 'suspected')) then
    -- Two readers filled at once; the later value is already here.
    may_keep = may_keep and not is_older(version, kept)
  end
end
if may_keep and generation ~= '-' then
  may_keep = is_staged(prefix .. 'g:' .. generation, size, chunk)
end
if not may_keep then
  redis.call('UNLINK', reservation)
  return 0
end

-- First of the writes: without memory it is refused, and with it everything.  A half that a
-- crash leaves may lack the last of these, and no entry may be there without its data.
redis.call('ZADD', keys, 0, key)
redis.call('HINCRBY', state, 'bytes', text(tonumber(size) - tonumber(old_size)))
if old_generation ~= '-' then
  redis.call('EXPIRE', prefix .. 'g:' .. old_generation, ARGV[6])
end
local clock = redis.call('HGET', state, 'clock') or '0'
if generation == '-' then
  redis.call('HSET', entry, 'h', header, 'm', ARGV[4], 'c', clock, 'd', ARGV[5])
else
  redis.call('ZREM', prefix .. 'staging', generation)
  redis.call('PERSIST', prefix .. 'g:' .. generation)
  redis.call('HSET', entry, 'h', header, 'm', ARGV[4], 'c', clock)
  redis.call('HDEL', entry, 'd')
end
redis.call('UNLINK', reservation)
return 1
