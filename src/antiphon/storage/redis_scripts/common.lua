-- Put before every script of this folder.  For Redis 7.0 and newer.

-- One number of a version, without the exponent that Lua writes from 1e14 on.
local function text(number)
  return string.format('%.0f', number)
end

local function parse_version(version)
  local epoch, sequence, entry = string.match(version, '^(%d+)%-(%d+)%-(%x*)$')
  return tonumber(epoch), tonumber(sequence), entry
end

-- A header is: version created modified size generation chunk-bytes; "-" where there is none.
local HEADER = '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'

-- Microseconds of the server's clock: one clock for all writers.
local function now()
  local time = redis.call('TIME')
  return time[1], string.format('%06d', time[2])
end

-- Whether all chunks of a staged value are there: a Redis that lost its last
-- second, or an expired staging, must not become half a value.
local function is_staged(generation, size, chunk)
  return redis.call('HLEN', generation) == math.ceil(tonumber(size) / tonumber(chunk))
end
