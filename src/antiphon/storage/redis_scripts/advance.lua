-- Note how far the invalidations of one store were applied, or forget that of all, and the notes.
-- KEYS: state, and all that notes are in    ARGV: run, position or "", store id
local state, run, position, store_id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local field = 'p:' .. store_id
local found = redis.call('HMGET', state, 'run', field)
if (found[1] or '') ~= run then
  return found[1] or ''
end
write_without_memory(state)
if position == '' then
  for _, name in ipairs(redis.call('HKEYS', state)) do
    if string.sub(name, 1, 2) == 'p:' then
      redis.call('HDEL', state, name)
    end
  end
  -- What the notes have voided stays so.
  redis.call('HSET', state, 'floor', redis.call('HGET', state, 'clock') or '0')
  redis.call('UNLINK', unpack(KEYS, 2))
  return 1
end
local POSITION = '@(%d+)%-(%d+)%-'
local epoch, sequence = string.match(position, POSITION)
local present_epoch, present = string.match(found[2] or '', POSITION)
if epoch ~= present_epoch or tonumber(sequence) >= tonumber(present) then
  redis.call('HSET', state, field, position)
end
return 1
