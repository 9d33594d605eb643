-- Keep a value, if its reservation stands and nothing newer is known.  Return 1 if it was kept.
-- KEYS: state reservation keys entry note lengths
-- ARGV: prefix, key, header, metadata, data or "", grace in seconds
local state, reservation, keys, entry, note, lengths =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, key, header = ARGV[1], ARGV[2], ARGV[3]
local version, _, _, size, generation, chunk = string.match(header, HEADER)

local reserved_at = tonumber(redis.call('GET', reservation) or -1)
local forgot = tonumber(redis.call('HGET', state, 'forgot') or 0)
local notes = {note}
for _, length in ipairs(redis.call('ZRANGEBYSCORE', lengths, (now()), '+inf')) do
  if tonumber(length) <= #key then
    notes[#notes + 1] = prefix .. 'cache:p:' .. string.sub(key, 1, tonumber(length))
  end
end
local may_keep = reserved_at >= 0
for _, name in ipairs(notes) do
  local clock, noted = read_note(name, forgot)
  may_keep = may_keep and clock <= reserved_at and not is_older(version, noted)
end
local present = redis.call('HGET', entry, 'h')
local old_generation = '-'
if present then
  local kept
  kept, _, _, _, old_generation = string.match(present, HEADER)
  -- Two readers filled at once; the later value is already here.
  may_keep = may_keep and not is_older(version, kept)
end
if may_keep and generation ~= '-' then
  may_keep = is_staged(prefix .. 'g:' .. generation, size, chunk)
end
if not may_keep then
  redis.call('UNLINK', reservation)
  return 0
end

-- First of the writes: without memory it is refused, and with it everything.  And before the
-- entry: of a half that a crash left the key has to be in the list that a restart empties.
redis.call('ZADD', keys, 0, key)
if old_generation ~= '-' then
  redis.call('EXPIRE', prefix .. 'g:' .. old_generation, ARGV[6])
end
redis.call('HSET', entry, 'h', header, 'm', ARGV[4])
if generation == '-' then
  redis.call('HSET', entry, 'd', ARGV[5])
else
  redis.call('HDEL', entry, 'd')
  redis.call('PERSIST', prefix .. 'g:' .. generation)
  redis.call('ZREM', prefix .. 'staging', generation)
end
redis.call('UNLINK', reservation)
return 1
