-- Invalidate keys; return for each 1 if an entry was dropped, else 0.
-- KEYS: state keys notes noted
-- ARGV: prefix of Redis keys, seconds of a note, notes at most, grace in seconds, and then for
--       each: key, version or "-"
local FIXED = 4
local state, keys = KEYS[1], KEYS[2]
local gone, versions = {}, {}
for i = 1, (#ARGV - FIXED) / 2 do
  gone[i], versions[i] = ARGV[FIXED + 2 * i - 1], ARGV[FIXED + 2 * i]
end
write_without_memory(state)
write_notes(state, KEYS[3], KEYS[4], gone, versions, ARGV[2], ARGV[3])
return (drop_all(state, ARGV[1], keys, gone, versions, ARGV[4]))
