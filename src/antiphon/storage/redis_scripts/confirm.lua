-- Mark an entry as checked, if its reservation stands and it has the version that its source
-- has; an unchecked one that has another is dropped.  Return header, metadata and data of what
-- was marked, or false.
-- KEYS: state reservation keys entry notes prefix-notes lengths
-- ARGV: prefix of Redis keys, key, version, grace in seconds
local state, reservation, entry = KEYS[1], KEYS[2], KEYS[4]
local key, version = ARGV[2], ARGV[3]
local may_stand = stands(state, reservation, KEYS[5], KEYS[6], KEYS[7], key)
-- Never refused, so what follows is not, either: a full Redis has to be able to confirm.
redis.call('UNLINK', reservation)
write_without_memory(state)
local stored = redis.call('HMGET', entry, 'h', 'm', 'd', 'c')
if not (may_stand and stored[1]) then
  return false
end
if version == '-' or string.match(stored[1], HEADER) ~= version then
  if not is_checked(stored[4], redis.call('HGET', state, 'suspected')) then
    drop_all(state, ARGV[1], KEYS[3], {key}, {'-'}, ARGV[4])
  end
  return false
end
redis.call('HSET', entry, 'c', redis.call('HGET', state, 'clock') or '0')
return stored
