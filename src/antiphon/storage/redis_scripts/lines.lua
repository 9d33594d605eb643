-- Put before the scripts that commit, after common.lua: metadata lines and index members.

-- Longer values are indexed by their digest; whoever queries compares the metadata anyway.
local INDEXED_BYTES = 128

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

-- Return the index member of one line of metadata.
local function member(line, key)
  local name, value = string.match(line, '^([^\t]*)\t(.*)$')
  if #value > INDEXED_BYTES then
    value = '#' .. redis.sha1hex(value)
  end
  return name .. '\0' .. value .. '\0' .. key
end

-- Add to `come` the members of the lines that are only in the new metadata, each after a score,
-- and to `gone` those that are only in the old.
local function reindex(old, new, key, come, gone)
  local present = {}
  for line in string.gmatch(old, '[^\n]+') do
    present[line] = true
  end
  for line in string.gmatch(new, '[^\n]+') do
    if present[line] then
      present[line] = nil
    else
      come[#come + 1] = '0'
      come[#come + 1] = member(line, key)
    end
  end
  for line in pairs(present) do
    -- A line without a tab was cut short by another program; it has no member.
    if string.find(line, '\t', 1, true) then
      gone[#gone + 1] = member(line, key)
    end
  end
end
