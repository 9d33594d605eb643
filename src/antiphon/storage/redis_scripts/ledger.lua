-- Put before the scripts of the cache ledger, after common.lua.
--
-- Instead of ending each reservation that an invalidation voids, the state has a clock that
-- every invalidation counts up.  A reservation is the clock when it was taken; it stands if the
-- floor, and all notes of its key and of prefixes of it, are no later.  The floor is the clock
-- of the last invalidation whose note was thrown away.  An entry has the clock when it was
-- filled or confirmed; it is checked if the cache was not suspected later.
--
-- A note is: clock, second until which it is kept, version or "-".  Notes of keys are in one hash
-- and those of prefixes in another, each with a sorted set of their names by clock.

-- Members a call: Lua's stack holds 8000.
local BATCH = 2000
local NOTE = '^(%S+) (%S+) (%S+)$'

-- A medium without memory must still be able to invalidate: HDEL is never
-- refused, and what follows the first write of a script is not refused either.
local function write_without_memory(state)
  redis.call('HDEL', state, '')
end

-- A state that was lost alone (deleted, or evicted by Redis) must not count from 0 again: what
-- there is of reservations and entries would be younger than all that happens from then on.
local function count(state, by)
  if redis.call('HEXISTS', state, 'clock') == 0 then
    local seconds, micros = now()
    redis.call('HSET', state, 'clock', seconds .. micros)
  end
  return redis.call('HINCRBY', state, 'clock', by)
end

local function is_older(version, noted)
  if version == '-' or noted == '-' then
    return false
  end
  local epoch, sequence = parse_version(version)
  local noted_epoch, noted_sequence = parse_version(noted)
  if epoch ~= noted_epoch then
    return epoch < noted_epoch
  end
  return sequence < noted_sequence
end

-- Call a command with a list of words, as often as it takes.
local function call_all(command, name, words)
  for from = 1, #words, BATCH do
    redis.call(command, name, unpack(words, from, math.min(from + BATCH - 1, #words)))
  end
end

local function get_all(name, fields)
  local found = {}
  for from = 1, #fields, BATCH do
    local some =
      redis.call('HMGET', name, unpack(fields, from, math.min(from + BATCH - 1, #fields)))
    for i = 1, #some do
      found[from + i - 1] = some[i]
    end
  end
  return found
end

-- Throw the oldest notes away that are too many or whose time is over.
local function tidy_notes(state, notes, noted, added, limit, time)
  local excess = redis.call('ZCARD', noted) - limit
  local function is_over(note)
    return tonumber(string.match(note or '0 0 -', ' (%d+) ')) <= time
  end
  local oldest = redis.call('ZRANGE', noted, 0, 0)[1]
  if excess <= 0 and not is_over(redis.call('HGET', notes, oldest)) then
    return
  end
  -- Two for each that came: so what is over goes as quickly as anything comes.
  local names = redis.call('ZRANGE', noted, 0, math.max(excess, 2 * added) - 1)
  local found, gone, floor = get_all(notes, names), {}, 0
  for i, name in ipairs(names) do
    if i > excess and not is_over(found[i]) then
      break
    end
    gone[i], floor = name, tonumber(string.match(found[i] or '0', '^%d+'))
  end
  call_all('HDEL', notes, gone)
  call_all('ZREM', noted, gone)
  if floor > tonumber(redis.call('HGET', state, 'floor') or 0) then
    redis.call('HSET', state, 'floor', text(floor))
  end
end

-- Note an invalidation of each of `names`, at the version of the same place.
local function write_notes(state, notes, noted, names, versions, seconds, limit)
  local clock = count(state, #names) - #names
  local time = tonumber((now()))
  local keep_until = text(time + tonumber(seconds))
  local found, latest, fields, scores = get_all(notes, names), {}, {}, {}
  for i, name in ipairs(names) do
    local version = versions[i]
    local present = latest[name] or (found[i] and string.match(found[i], '%S+$')) or '-'
    if version == '-' or is_older(version, present) then
      version = present
    end
    latest[name] = version
    local at = text(clock + i)
    fields[2 * i - 1], fields[2 * i] = name, at .. ' ' .. keep_until .. ' ' .. version
    scores[2 * i - 1], scores[2 * i] = at, name
  end
  call_all('HSET', notes, fields)
  call_all('ZADD', noted, scores)
  redis.call('EXPIRE', notes, seconds)
  redis.call('EXPIRE', noted, seconds)
  tidy_notes(state, notes, noted, #names, tonumber(limit), time)
end

-- Whether nothing has ended a reservation; and the versions that were noted of its key.
local function stands(state, reservation, notes, prefix_notes, lengths, key)
  local reserved_at = tonumber(redis.call('GET', reservation) or -1)
  local prefixes, noted = {}, {}
  for _, length in ipairs(redis.call('ZRANGEBYSCORE', lengths, (now()), '+inf')) do
    if tonumber(length) <= #key then
      prefixes[#prefixes + 1] = string.sub(key, 1, tonumber(length))
    end
  end
  local found = get_all(prefix_notes, prefixes)
  found[#found + 1] = redis.call('HGET', notes, key)
  local may_stand = reserved_at >= tonumber(redis.call('HGET', state, 'floor') or 0)
  for _, note in ipairs(found) do
    if note then
      local clock, _, version = string.match(note, NOTE)
      may_stand = may_stand and tonumber(clock) <= reserved_at
      noted[#noted + 1] = version
    end
  end
  return may_stand, noted
end

-- Whether an entry was filled or confirmed after the cache was last suspected.
local function is_checked(filled_at, suspected)
  return tonumber(filled_at or 0) >= tonumber(suspected or 0)
end

-- Whether an entry of one version stays when another is voided: it is the one that is told of,
-- or came after it.  The same numbers with another id are of another history.
local function outlives(kept, version, checked)
  if kept == '-' or version == '-' then
    return false
  end
  return kept == version or (checked and is_older(version, kept))
end

-- Drop the entries of keys, unless they outlive the versions of the same places.
-- Return 1 or 0 for each, and how many were dropped.
local function drop_all(state, prefix, keys, dropping, versions, grace)
  local suspected = redis.call('HGET', state, 'suspected')
  local flags, records, members, dropped, bytes, is_gone = {}, {}, {}, 0, 0, {}
  for i, key in ipairs(dropping) do
    flags[i] = 0
    local entry = prefix .. 'cache:k:' .. key
    local found = redis.call('HMGET', entry, 'h', 'c')
    if found[1] and not is_gone[key] then
      local kept, _, _, size, generation = string.match(found[1], HEADER)
      if not outlives(kept, versions[i], is_checked(found[2], suspected)) then
        if generation ~= '-' then
          redis.call('EXPIRE', prefix .. 'g:' .. generation, grace)
        end
        flags[i], is_gone[key] = 1, true
        dropped, bytes = dropped + 1, bytes + tonumber(size)
        records[dropped], members[dropped] = entry, key
      end
    end
  end
  for from = 1, dropped, BATCH do
    local to = math.min(from + BATCH - 1, dropped)
    redis.call('UNLINK', unpack(records, from, to))
    redis.call('ZREM', keys, unpack(members, from, to))
  end
  if bytes > 0 then
    redis.call('HINCRBY', state, 'bytes', text(-bytes))
  end
  return flags, dropped
end

-- Make all entries unchecked, and end all reservations.
local function suspect_all(state)
  local clock = text(count(state, 1))
  redis.call('HSET', state, 'suspected', clock, 'floor', clock)
end

-- Return a list with the same word for each of a list.
local function same(word, list)
  local words = {}
  for i = 1, #list do
    words[i] = word
  end
  return words
end
