-- Put before the scripts that commit, after common.lua: metadata lines, index and journal.

-- Longer lines are indexed by their digest; whoever queries compares the metadata anyway.
local INDEXED_BYTES = 128

-- Longer answers that are remembered have a key of their own, which ends by itself.
local ANSWER_BYTES = 4096

local function merge_lines(old, new)
  local names, values = {}, {}
  for name, value in string.gmatch(old .. '\n' .. new, '([^\t\n]*)\t([^\n]*)') do
    if not values[name] then
      names[#names + 1] = name
    end
    values[name] = value
  end
  local lines = {}
  for i, name in ipairs(names) do
    lines[i] = name .. '\t' .. values[name]
  end
  return table.concat(lines, '\n')
end

-- Return the name of the index set of one line of metadata.
local function set_of(prefix, line)
  if #line > INDEXED_BYTES then
    line = '#' .. redis.sha1hex(line)
  end
  return prefix .. 'i:' .. line
end

-- Add a key to the members for a set; `sets` lists their names, and by name what each gets.
local function note(sets, name, key, score)
  local members = sets[name]
  if not members then
    members = {}
    sets[#sets + 1], sets[name] = name, members
  end
  if score then
    members[#members + 1] = score
  end
  members[#members + 1] = key
end

-- Note in `come` the sets of the lines that are only in the new metadata, with a score before
-- each key, and in `gone` those of the lines that are only in the old.
local function reindex(prefix, old, new, key, come, gone)
  local fresh, present = {}, {}
  local next_old, next_new = string.gmatch(old, '[^\n]+'), string.gmatch(new, '[^\n]+')
  local was, is = next_old(), next_new()
  -- Lines are sorted, so most that are in both stand at the same place.
  while was or is do
    if was ~= is then
      if was then
        present[was] = true
      end
      if is then
        fresh[#fresh + 1] = is
      end
    end
    was, is = was and next_old(), is and next_new()
  end
  for _, line in ipairs(fresh) do
    if present[line] then
      present[line] = nil
    else
      note(come, set_of(prefix, line), key, '0')
    end
  end
  for line in pairs(present) do
    note(gone, set_of(prefix, line), key)
  end
end

-- What may fail has to fail before anything is written: sets that are keys of another program.
-- Return the error.
local function check_sets(sets)
  for i = 1, #sets do
    local result = redis.pcall('ZCARD', sets[i])
    if type(result) == 'table' then
      return result
    end
  end
end

-- Return what an entry of the journal has as its one field.
local function journal_text(id, event, action, owner, is_last, time, key)
  return id .. ' ' .. event .. ' ' .. action .. ' ' .. (owner == '' and '-' or owner)
    .. (is_last and ' 1 ' or ' 0 ') .. time .. ' ' .. key
end

-- Return the number of a writer's last commit, given what the meta hash has of it; and the
-- answer to that commit, if it was `number`.
local function remembered(field, key, number)
  local last = tonumber(string.match(field or '0', '^%d+'))
  if last ~= number then
    return last
  end
  local answer = string.match(field, '^%d+ %d+ (.*)$')
  return last, answer ~= '' and answer or redis.call('GET', key) or ''
end

-- Return what the meta hash has to have of a writer's last commit.
local function to_remember(key, number, time, seconds, answer)
  if #answer > ANSWER_BYTES then
    redis.call('SET', key, answer, 'EX', seconds)
    answer = ''
  end
  return number .. ' ' .. text(time + seconds) .. ' ' .. answer
end
