-- Have all entries be confirmed before they are served again, and end all reservations.
-- KEYS: state
write_without_memory(KEYS[1])
suspect_all(KEYS[1])
return 1
