-- Note how far invalidations were applied, or forget it.
-- KEYS: state    ARGV: run, position or ""
local state, run, position = KEYS[1], ARGV[1], ARGV[2]
local found = redis.call('HMGET', state, 'run', 'position', 'clock')
if (found[1] or '') ~= run then
  return found[1] or ''
end
write_without_memory(state)
if position == '' then
  redis.call('HDEL', state, 'position')
  redis.call('HSET', state, 'forgot', found[3] or '0')
  return 1
end
local POSITION = '^(.-@%d+)%-(%d+)%-'
local history, sequence = string.match(position, POSITION)
local present_history, present = string.match(found[2] or '', POSITION)
if history ~= present_history or tonumber(sequence) >= tonumber(present) then
  redis.call('HSET', state, 'position', position)
end
return 1
