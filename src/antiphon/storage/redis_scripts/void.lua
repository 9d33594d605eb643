-- Invalidate one key; return 1 if an entry was dropped.
-- KEYS: state keys entry note    ARGV: key, version or "-", seconds of a note, grace in seconds
write_without_memory(KEYS[1])
write_note(KEYS[1], KEYS[4], ARGV[2], ARGV[3])
return drop(KEYS[3], KEYS[2], ARGV[1], ARGV[2], ARGV[4]) and 1 or 0
