-- Do the commit that is written down in the intent, whoever asked for it, if there is any.
-- Return the writer, the number and the words of the answer of that commit, parted by NULs.
-- KEYS: meta intent journal keys
--
-- The intent is a plan, which prepare.lua has made and checked: writer, number, seconds for
-- which the answer is remembered, prefix, staged values, commands, head, answer.  Or it is a
-- request, which a writer has set by itself: "", store id, prefix, grace in seconds, seconds for
-- which the answer is remembered, bytes of metadata lines at most, writer, number, "1" if tried
-- before, owner; then for each change: key, entry id, event id, letters, expected version or "",
-- metadata lines, data.  Letters are those of prepare.lua, without d; and no key comes twice.
--
-- Twice, or after a half that a crash left, ends the same as once.  A plan only sets what is.
-- Of a request all is decided anew, from what is there; so a record, which everything about its
-- key is decided from, is written after everything else of the key.  Head and answer are written
-- last, by one command: what is not in the head yet has the same numbers again.
local meta, intent, journal, keys = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found = redis.call('GET', intent)
if not found then
  return 'NONE'
end
local request = cmsgpack.unpack(found)

-- A Redis that has run out of memory meanwhile refuses HDEL not, and then nothing more.
local function write_without_memory()
  redis.call('HDEL', meta, '')
end

if request[1] ~= '' then
  local writer, number, remember, prefix, staged, commands, head, answer = unpack(request)
  -- A staged value waits an hour: a plan whose writer died before that may have lost it.
  for _, value in ipairs(staged) do
    if not is_staged(value[1], value[2], value[3]) then
      answer, commands, head = 'UNSTAGED\0001', {}, nil
    end
  end
  write_without_memory()
  for _, command in ipairs(commands) do
    local result = redis.pcall(unpack(command))
    -- After a torn half the entry is there already, the same one.
    if type(result) == 'table' and result.err
        and not string.find(result.err, 'equal or smaller', 1, true) then
      return result
    end
  end
  local field = 'w:' .. writer
  local last = to_remember(prefix .. field, number, now(), remember, answer)
  if head then
    redis.call('HSET', meta, 'head', head, field, last)
  else
    redis.call('HSET', meta, field, last)
  end
  redis.call('UNLINK', intent)
  return writer .. '\0' .. number .. '\0' .. answer
end

-- Sequence numbers after which the journal is trimmed: that takes as long as a new entry.
local TRIM_EVERY = 32
local FIXED, WORDS = 10, 7
-- Members a call: Lua's stack holds 8000.
local BATCH = 2000
local prefix, remember, writer, number = request[3], request[5], request[7], request[8]
local field = 'w:' .. writer
local count = (#request - FIXED) / WORDS

local function done(answer)
  redis.call('UNLINK', intent)
  return writer .. '\0' .. number .. '\0' .. answer
end

-- Nothing is written.  Who asks again has to hear the same, even if the first request, stuck in
-- the network, comes after the second one.
local function refuse(...)
  local answer = table.concat({...}, '\0')
  if request[9] == '1' then
    write_without_memory()
    redis.call('HSET', meta, field, to_remember(prefix .. field, number, now(), remember, answer))
  end
  return done(answer)
end

local function fail(err)
  redis.call('UNLINK', intent)
  return err
end

-- A writer that lost an answer asks again with the same number, perhaps before its first request
-- arrives: whichever comes second gets the answer of the other.
local about = redis.call('HMGET', meta, 'store_id', 'head', 'journal_length', field)
local last, said = remembered(about[4], prefix .. field, tonumber(number))
if said then
  return done(said)
elseif last > tonumber(number) then
  return done('STALE')
elseif about[1] ~= request[2] then
  -- Not remembered: there may be no meta hash, and this would be the beginning of a wrong one.
  return done('LOST\0' .. (about[1] or ''))
end
local head = about[2]
local epoch, sequence = string.match(head, '^(%d+)%-(%d+)%-')
sequence = tonumber(sequence)
local time = redis.call('TIME')
local micros = string.format('%06d', time[2])
local clock = time[1] .. '.' .. micros
local answer = {'OK', epoch, text(sequence + 1), time[1] .. micros .. '000'}

local come, gone, added, persisted, retired = {}, {}, {}, {}, {}

-- The id of each change in the journal.
local ids = {}

-- Return the action that the journal's entry of change i has, if it is ours.
local function action_of(i)
  local entry = redis.call('XRANGE', journal, ids[i], ids[i])[1]
  local id, action = string.match(entry and entry[2][2] or '', '^(%x*) %S+ (%S+)')
  return id == request[FIXED + (i - 1) * WORDS + 2] and action
end

-- What writes the record of each change; false if that is done.
local records = {}
for i = 1, count do
  ids[i] = epoch .. '-' .. text(sequence + i)
  local at = FIXED + (i - 1) * WORDS
  local key, entry, letters, expect, lines, data = request[at + 1], request[at + 2],
    request[at + 4], request[at + 5], request[at + 6], request[at + 7]
  local record = prefix .. 'k:' .. key
  local stored = redis.pcall('HMGET', record, 'h', 'm')
  if stored.err then
    return fail(stored)
  end
  local version, own, created, size, generation, chunk
  if stored[1] then
    version, own, created, size, generation, chunk =
      string.match(stored[1], '^(%d+%-%d+%-(%x*)) (%S+) %S+ (%S+) (%S+) (%S+)$')
  end
  local old, is_new, told = stored[2] or '', not version, ''
  local is_done = own == entry
  if not is_done then
    if expect ~= '' and expect ~= (version or '0-0-') then
      return refuse('CONFLICT', text(i), version or '')
    end
    if is_new then
      if string.find(letters, 'x', 1, true) then
        return refuse('MISSING', text(i))
      end
      created, size, generation, chunk = clock, '0', '-', '0'
      note(added, keys, key, '0')
    end
  end
  -- What most changes are needs no search.
  if letters ~= 'mb' and string.find(letters, 'u', 1, true) then
    lines = merge_lines(old, lines)
    if #lines > tonumber(request[6]) then
      return refuse('LARGE', text(i), text(#lines))
    end
    told = lines
  elseif letters ~= 'mb' and not string.find(letters, 'm', 1, true) then
    lines, told = old, old
  end
  if is_done then
    records[i] = false
    answer[#answer + 1] = action_of(i) or 'update'
  else
    if lines ~= old then
      reindex(prefix, old, lines, key, come, gone)
    end
    local inline, is_staged_now
    if is_new then
      inline = ''
    end
    if string.find(letters, '[bg]') then
      if generation ~= '-' then
        retired[#retired + 1] = prefix .. 'g:' .. generation
      end
      if string.find(letters, 'g', 1, true) then
        generation, size, chunk = string.match(data, '^(%S+) (%S+) (%S+)$')
        local name = prefix .. 'g:' .. generation
        if not is_staged(name, size, chunk) then
          return refuse('UNSTAGED', text(i))
        end
        persisted[#persisted + 1] = generation
        inline, is_staged_now = nil, true
      else
        generation, size, chunk, inline = '-', #data, '0', data
      end
    end
    local header = ids[i] .. '-' .. entry .. ' ' .. created .. ' ' .. clock .. ' ' .. size
      .. ' ' .. generation .. ' ' .. chunk
    records[i] = {record, header, (is_new or lines ~= old) and lines, inline,
      is_staged_now and not is_new}
    answer[#answer + 1] = is_new and 'set' or 'update'
  end
  answer[#answer + 1] = told
end

local err = check_sets(come) or check_sets(gone) or check_sets(added)
if err then
  return fail(err)
end

-- Write the journal's entry of change i, or return the error.
local function add(i)
  local at = FIXED + (i - 1) * WORDS
  local entry = journal_text(request[at + 2], request[at + 3], answer[3 + 2 * i], request[10],
    i == count, answer[4], request[at + 1])
  if i == count and (sequence + count) % TRIM_EVERY < count then
    return redis.pcall('XADD', journal, 'MAXLEN', '~', about[3], ids[i], 'e', entry)
  end
  return redis.pcall('XADD', journal, ids[i], 'e', entry)
end

local function tell(i)
  local result = add(i)
  if result.err and string.find(result.err, 'OOM', 1, true) then
    write_without_memory()
    result = add(i)
  end
  return result.err and result
end

-- First: what the journal tells of must not come to its end before it is in a record.
for _, generation in ipairs(persisted) do
  redis.call('PERSIST', prefix .. 'g:' .. generation)
end
for i = 1, count do
  err = tell(i)
  if err and string.find(err.err, 'equal or smaller', 1, true) then
    -- After a torn half the entry is there already.
    err = not action_of(i) and 'torn'
  end
  if err == 'torn' then
    local newest = redis.call('XREVRANGE', journal, '+', '-', 'COUNT', 1)[1]
    return refuse('TORN', head, newest and newest[1] or '')
  elseif err then
    return fail(err)
  end
end

local function do_all(command, sets, size)
  for _, name in ipairs(sets) do
    local members = sets[name]
    for from = 1, #members, size do
      redis.call(command, name, unpack(members, from, math.min(from + size - 1, #members)))
    end
  end
end

do_all('ZADD', come, BATCH * 2)
do_all('ZREM', gone, BATCH)
do_all('ZADD', added, BATCH * 2)
for _, generation in ipairs(persisted) do
  redis.call('ZREM', prefix .. 'staging', generation)
end
for _, generation in ipairs(retired) do
  redis.call('EXPIRE', generation, request[4])
end
for _, each in ipairs(records) do
  if each then
    if each[5] then
      redis.call('HDEL', each[1], 'd')
    end
    local name, header, lines, data = each[1], each[2], each[3], each[4]
    if lines and data then
      redis.call('HSET', name, 'h', header, 'm', lines, 'd', data)
    elseif lines then
      redis.call('HSET', name, 'h', header, 'm', lines)
    elseif data then
      redis.call('HSET', name, 'h', header, 'd', data)
    else
      redis.call('HSET', name, 'h', header)
    end
  end
end
-- The id of the entry before: the event of the first change links to it.
answer[#answer + 1] = string.match(head, '%x*$')
answer = table.concat(answer, '\0')
redis.call('HSET', meta, 'head', ids[count] .. '-' .. request[#request - 5],
  field, to_remember(prefix .. field, number, time[1], remember, answer))
return done(answer)
