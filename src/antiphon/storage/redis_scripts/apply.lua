-- Do what prepare.lua has written down, whoever asked for it, if there is anything.
-- Return the writer, the number and the answer of that commit.
-- KEYS: meta intent
--
-- Every command sets what is, and adds to nothing: doing it twice, or after a half that a
-- crash left, ends the same.
local meta, intent = KEYS[1], KEYS[2]
local found = redis.call('GET', intent)
if not found then
  return {'NONE'}
end
local writer, number, remember, staged, commands, answer = unpack(cmsgpack.unpack(found))

-- A staged value waits an hour: a plan whose writer died before that may have lost it.
for i, value in ipairs(staged) do
  if not is_staged(value[1], value[2], value[3]) then
    answer, commands = {'UNSTAGED', '1'}, {}
  end
end
-- A Redis that has run out of memory meanwhile refuses HDEL not, and then nothing more.
redis.call('HDEL', meta, '')
for _, command in ipairs(commands) do
  local result = redis.pcall(unpack(command))
  -- After a torn half the entry is there already, the same one.
  if type(result) == 'table' and result.err and not string.find(result.err, 'equal or smaller') then
    return result
  end
end
redis.call('SET', writer, cmsgpack.pack({number, answer}), 'EX', remember)
redis.call('UNLINK', intent)
return {'OK', writer, text(number), answer}
