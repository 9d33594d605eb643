-- Put before the scripts of the cache ledger, after common.lua.
--
-- Instead of ending each reservation that an invalidation voids, the state has a
-- clock that every invalidation counts up: a reservation stands if no note of its
-- key, or of a prefix of it, is later than itself.  Notes outlive reservations.
-- A note is: clock, clock at which its version was noted, version or "-".

-- A medium without memory must still be able to invalidate: HDEL is never
-- refused, and what follows the first write of a script is not refused either.
local function write_without_memory(state)
  redis.call('HDEL', state, '')
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

-- Return clock and version of a note; versions from before `forgot` are forgotten.
local function read_note(name, forgot)
  local note = redis.call('GET', name)
  if not note then
    return 0, '-', 0
  end
  local clock, noted_at, version = string.match(note, '^(%S+) (%S+) (%S+)$')
  if tonumber(noted_at) <= forgot then
    return tonumber(clock), '-', 0
  end
  return tonumber(clock), version, tonumber(noted_at)
end

local function write_note(state, name, version, seconds)
  local clock = redis.call('HINCRBY', state, 'clock', 1)
  local forgot = tonumber(redis.call('HGET', state, 'forgot') or 0)
  local _, present, noted_at = read_note(name, forgot)
  if present == '-' or (version ~= '-' and not is_older(version, present)) then
    present, noted_at = version, clock
  end
  redis.call('SET', name, text(clock) .. ' ' .. text(noted_at) .. ' ' .. present, 'EX', seconds)
end

-- Drop an entry unless it is of that version or a later one; whether it was dropped.
local function drop(entry, keys, key, version, grace)
  local header = redis.call('HGET', entry, 'h')
  if not header then
    redis.call('ZREM', keys, key)
    return false
  end
  local kept, _, _, _, generation = string.match(header, HEADER)
  if kept ~= '-' and version ~= '-' and not is_older(kept, version) then
    return false
  end
  if generation ~= '-' then
    redis.call('EXPIRE', string.match(entry, '^{.-}:') .. 'g:' .. generation, grace)
  end
  redis.call('UNLINK', entry)
  redis.call('ZREM', keys, key)
  return true
end
