-- Check a commit and write down, in one key, all that it will do; apply.lua does it.
-- KEYS: meta journal keys intent, then the record of each change
-- ARGV: prefix, store id, writer, number of the commit among the writer's, owner, grace in
--       seconds, seconds for which the answer is remembered, "1" if tried before, bytes of
--       metadata lines at most; then for each change: key, entry id, event id, letters, expected
--       version or "", metadata lines, data
-- Letters: d delete; x must exist; m replace the metadata; u merge into it; and of the data:
--       b inline; g "<generation> <size> <chunk bytes>" staged before
--
-- Two steps, because Redis writes a script's changes to its log between MULTI and EXEC, and
-- when a crash tears that in the middle of a command, Redis 7.0 forgets to cut off the MULTI:
-- what follows in the log is then added to the torn half, at the restart after the next.  What
-- this script writes is one command, which is there or not; and what was torn of apply.lua is
-- done again in full, from the intent, before anything else is committed.
local meta, journal, keys, intent = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, store_id, writer, number = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local owner, grace, remember, again = ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1'
local max_lines = tonumber(ARGV[9])
local field = 'w:' .. writer
local FIXED_KEYS, FIXED_ARGS, ARGS = 4, 9, 7
-- Members a call: Lua's stack holds 8000.
local BATCH = 2000

-- A writer that lost an answer asks again with the same number, perhaps before
-- its first call arrives: whichever comes second gets the answer of the other.
local found = redis.call('HMGET', meta, 'store_id', 'head', 'journal_length', field)
local last, said = remembered(found[4], prefix .. field, number)
if said then
  return {'DONE', said}
elseif last > number then
  return {'STALE'}
elseif found[1] ~= store_id then
  return {'LOST', found[1] or ''}
end
if redis.call('EXISTS', intent) == 1 then
  -- Perhaps our own, by a call whose answer was lost: what apply.lua says next will tell.
  return {'PENDING'}
end

-- What may fail has to fail before anything is written: keys of another type, that is of
-- another program; and a journal that does not end where the meta hash says.
redis.call('ZCARD', keys)
local newest = redis.call('XREVRANGE', journal, '+', '-', 'COUNT', 1)[1]
if newest and string.sub(found[2], 1, #newest[1] + 1) ~= newest[1] .. '-' then
  local journal_epoch, head_epoch = parse_version(newest[1] .. '-'), parse_version(found[2])
  if journal_epoch >= head_epoch then
    return {'TORN', found[2], newest[1]}
  end
end

local epoch, sequence, newest_id = parse_version(found[2])
local seconds, micros = now()
local clock = seconds .. '.' .. micros
local states, touched, retired, entries = {}, {}, {}, {}
local answer = {'OK', text(epoch), text(sequence + 1), seconds .. micros .. '000'}

-- All commands that apply.lua runs, and the staged values that must be there then.
local commands, staged = {}, {}

local function will(...)
  commands[#commands + 1] = {...}
end

local function load(record, key)
  local state = states[record]
  if state then
    return state
  end
  local stored = redis.call('HMGET', record, 'h', 'm')
  state = {record = record, key = key, lines = '', generation = '-'}
  if stored[1] then
    state.exists, state.existed = true, true
    state.version, state.created, state.modified, state.size, state.generation, state.chunk =
      string.match(stored[1], HEADER)
    state.lines = stored[2] or ''
    state.indexed = state.lines
  end
  states[record] = state
  touched[#touched + 1] = state
  return state
end

-- The generation that a state had is no longer its value; open readers may still want it.
local function retire(state)
  if state.generation ~= '-' then
    retired[#retired + 1] = prefix .. 'g:' .. state.generation
  end
  state.generation, state.chunk = '-', '0'
  state.inline, state.staged = nil, nil
end

local function put(state, letters, data)
  retire(state)
  if string.find(letters, 'g', 1, true) then
    state.generation, state.size, state.chunk = string.match(data, '^(%S+) (%S+) (%S+)$')
    state.staged = true
    local generation = prefix .. 'g:' .. state.generation
    staged[#staged + 1] = {generation, state.size, state.chunk}
    return is_staged(generation, state.size, state.chunk)
  end
  state.size, state.inline = tostring(#data), data
  return true
end

local function plan(i)
  local at = FIXED_ARGS + (i - 1) * ARGS
  local key, entry, event, letters, expect, lines, data = ARGV[at + 1], ARGV[at + 2],
    ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  local state = load(KEYS[FIXED_KEYS + i], key)
  if expect ~= '' and expect ~= (state.exists and state.version or '0-0-') then
    return {'CONFLICT', text(i), state.exists and state.version or ''}
  end
  if string.find(letters, 'x', 1, true) and not state.exists then
    return {'MISSING', text(i)}
  end
  local action, told = 'set', ''
  if string.find(letters, 'd', 1, true) then
    action, told = 'delete', state.lines
    retire(state)
    state.exists, state.lines, state.created = false, '', nil
  else
    if state.exists then
      action = 'update'
    else
      state.created, state.exists = clock, true
      retire(state)
      state.size, state.inline = '0', ''
    end
    if string.find(letters, '[bg]') and not put(state, letters, data) then
      return {'UNSTAGED', text(i)}
    end
    if string.find(letters, 'u', 1, true) then
      state.lines = merge_lines(state.lines, lines)
      if #state.lines > max_lines then
        return {'LARGE', text(i), text(#state.lines)}
      end
      told = state.lines
    elseif string.find(letters, 'm', 1, true) then
      state.lines = lines
    else
      told = state.lines
    end
    state.modified = clock
  end
  sequence = sequence + 1
  state.version = text(epoch) .. '-' .. text(sequence) .. '-' .. entry
  entries[i] = {text(epoch) .. '-' .. text(sequence), key, entry, event, action}
  found[2] = state.version
  answer[#answer + 1] = action
  answer[#answer + 1] = told
end

local count = (#ARGV - FIXED_ARGS) / ARGS
local deletes_only = true
for i = 1, count do
  local refusal = plan(i)
  if refusal then
    if again then
      redis.call('HSET', meta, field,
        to_remember(prefix .. field, ARGV[4], now(), remember, table.concat(refusal, '\0')))
    end
    return refusal
  end
  deletes_only = deletes_only and entries[i][5] == 'delete'
end
answer[#answer + 1] = newest_id

-- First: what the journal tells of must not come to its end before it is in a record.
for _, value in ipairs(staged) do
  will('PERSIST', value[1])
end
for i, e in ipairs(entries) do
  local entry = journal_text(e[3], e[4], e[5], owner, i == count, answer[4], e[2])
  will('XADD', journal, e[1], 'e', entry)
end
will('XTRIM', journal, 'MAXLEN', '~', found[3])

local function will_all(command, sets, size)
  for _, name in ipairs(sets) do
    local members = sets[name]
    for from = 1, #members, size do
      will(command, name, unpack(members, from, math.min(from + size - 1, #members)))
    end
  end
end

local function store(state)
  local header = table.concat({state.version, state.created, state.modified, state.size,
    state.generation, state.chunk or '0'}, ' ')
  if state.inline then
    will('HSET', state.record, 'h', header, 'm', state.lines, 'd', state.inline)
  else
    will('HSET', state.record, 'h', header, 'm', state.lines)
  end
  if state.staged then
    will('HDEL', state.record, 'd')
    will('ZREM', prefix .. 'staging', state.generation)
  end
  if not state.existed then
    will('ZADD', keys, '0', state.key)
  end
end

local come, gone = {}, {}
for _, state in ipairs(touched) do
  reindex(prefix, state.indexed or '', state.lines, state.key, come, gone)
end
local err = check_sets(come) or check_sets(gone)
if err then
  return err
end
will_all('ZREM', gone, BATCH)
will_all('ZADD', come, BATCH * 2)
for _, state in ipairs(touched) do
  if state.exists then
    store(state)
  elseif state.existed then
    will('UNLINK', state.record)
    will('ZREM', keys, state.key)
  end
end
for _, generation in ipairs(retired) do
  will('EXPIRE', generation, grace)
end

-- Redis without memory refuses SET, and with it the commit.  But what only deletes has to
-- go through: HDEL is never refused, and what follows the first write is not, either.
if deletes_only then
  redis.call('HDEL', meta, '')
end
redis.call('SET', intent, cmsgpack.pack({writer, ARGV[4], remember, prefix, staged, commands,
  found[2], table.concat(answer, '\0')}))
return {'READY'}
