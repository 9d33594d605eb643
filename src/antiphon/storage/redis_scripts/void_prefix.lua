-- Invalidate all keys with a prefix.  The note comes with the first call, and from
-- then on no fill from before is kept; the entries go a page a call, so that a
-- large cache does not hold Redis up.  Return how many went, and the last key seen.
-- KEYS: state keys lengths note
-- ARGV: prefix of Redis keys, prefix of keys, version or "-", seconds of a note, grace in
--       seconds, first key not to look at or "" at the first call, page
local state, keys = KEYS[1], KEYS[2]
local prefix, version, seconds, grace, after, page =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
write_without_memory(state)
if after == '' then
  write_note(state, KEYS[4], version, seconds)
  local time = (now())
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. time)
  redis.call('ZADD', KEYS[3], text(tonumber(time) + tonumber(seconds) + 1), #prefix)
end
-- Keys are UTF-8, and no byte of that is 255.
local from = after == '' and '[' .. prefix or after
local found = redis.call('ZRANGEBYLEX', keys, from, '(' .. prefix .. '\255', 'LIMIT', 0, page)
local dropped = 0
for _, key in ipairs(found) do
  if drop(ARGV[1] .. 'cache:k:' .. key, keys, key, version, grace) then
    dropped = dropped + 1
  end
end
return {dropped, #found == tonumber(page) and found[#found] or false}
