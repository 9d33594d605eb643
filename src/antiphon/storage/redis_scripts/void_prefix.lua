-- Invalidate all keys with a prefix.  The note comes with the first call, and from
-- then on no fill from before is kept; the entries go a page a call, so that a
-- large cache does not hold Redis up.  Return how many went, and the last key seen.
-- KEYS: state keys prefix-notes noted-prefixes lengths
-- ARGV: prefix of Redis keys, seconds of a note, notes at most, grace in seconds, prefix of keys,
--       version or "-", first key not to look at or "" at the first call, page
local state, keys, lengths = KEYS[1], KEYS[2], KEYS[5]
local seconds, prefix, version, after, page = ARGV[2], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
write_without_memory(state)
if after == '' then
  write_notes(state, KEYS[3], KEYS[4], {prefix}, {version}, seconds, ARGV[3])
  local time = (now())
  redis.call('ZREMRANGEBYSCORE', lengths, '-inf', '(' .. time)
  redis.call('ZADD', lengths, text(tonumber(time) + tonumber(seconds) + 1), #prefix)
end
-- Keys are UTF-8, and no byte of that is 255.
local from = after == '' and '[' .. prefix or after
local found = redis.call('ZRANGEBYLEX', keys, from, '(' .. prefix .. '\255', 'LIMIT', 0, page)
local _, dropped = drop_all(state, ARGV[1], keys, found, same(version, found), ARGV[4])
return {dropped, #found == tonumber(page) and found[#found] or false}
