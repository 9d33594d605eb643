-- Give the namespace an identity, unless it has one, and return it.
-- KEYS: meta journal keys
-- ARGV: format, store id to take, system or "", journal length or "", default journal length
local meta, journal = KEYS[1], KEYS[2]

-- A right that is missing in mid-commit would leave half of it: ask before.
-- Redis can be asked from 7.0 on.
local COMMANDS = {'EXISTS', 'EXPIRE', 'GET', 'HDEL', 'HGET', 'HGETALL', 'HINCRBY', 'HLEN',
  'HMGET', 'HSET', 'HSETNX', 'PERSIST', 'SET', 'TTL', 'UNLINK', 'XADD', 'XLEN', 'XRANGE', 'XREVRANGE', 'XTRIM',
  'ZADD', 'ZCARD', 'ZRANGE', 'ZRANGEBYLEX', 'ZRANGEBYSCORE', 'ZREM',
  'ZREMRANGEBYSCORE', 'ZSCORE'}
if redis.acl_check_cmd then
  local missing = {}
  for _, command in ipairs(COMMANDS) do
    if not redis.acl_check_cmd(command, meta, meta, meta, meta) then
      missing[#missing + 1] = string.lower(command)
    end
  end
  if not redis.acl_check_cmd('TIME') then
    missing[#missing + 1] = 'time'
  end
  if #missing > 0 then
    return {'RIGHTS', table.concat(missing, ' ')}
  end
end

-- A key of another type, that is of another program, fails here, before anything is written.
local found = redis.call('HMGET', meta, 'format')
redis.call('XLEN', journal)
redis.call('ZCARD', KEYS[3])

if not found[1] then
  if redis.call('EXISTS', meta) == 1 then
    return {'FOREIGN'}
  end
  -- Data without an identity: a copy whose meta was removed so that it becomes
  -- a store of its own.  Its history begins anew, above the copied one.
  local epoch = 1
  local last = redis.call('XREVRANGE', journal, '+', '-', 'COUNT', 1)[1]
  if last then
    epoch = tonumber(string.match(last[1], '^%d+')) + 1
  end
  redis.call('HSET', meta, 'format', ARGV[1], 'store_id', ARGV[2],
    'head', text(epoch) .. '-0-', 'journal_length', ARGV[5])
elseif found[1] ~= ARGV[1] then
  return {'FORMAT', found[1]}
end
if ARGV[3] ~= '' then
  redis.call('HSETNX', meta, 'system', ARGV[3])
end
if ARGV[4] ~= '' then
  redis.call('HSET', meta, 'journal_length', ARGV[4])
end
-- Answers to writers that have made no other commit for long enough.
local fields, time = redis.call('HGETALL', meta), tonumber((now()))
for i = 1, #fields, 2 do
  local until_time = string.sub(fields[i], 1, 2) == 'w:'
    and tonumber(string.match(fields[i + 1], '^%d+ (%d+) '))
  if until_time and until_time < time then
    redis.call('HDEL', meta, fields[i])
  end
end
found = redis.call('HMGET', meta, 'store_id', 'head', 'system')
return {'OK', found[1], found[2], found[3]}
