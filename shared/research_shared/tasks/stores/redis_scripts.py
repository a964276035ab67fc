"""Lua scripts of the Redis store. Each runs as a whole, on the clock of the server.

A task is a hash, and the queue is a sorted set whose scores are the times (ms) from which a worker may take a task: the
time that it was added, or the end of a lease. A lease that is not renewed passes by itself, so that the task is taken again.
"""

_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function text(number) return string.format('%.0f', number) end
"""

_HELD = """
local function held_by(owner, prefix)
  local count, bytes = 0, 0
  for _, member in ipairs(redis.call('SMEMBERS', owner)) do
    local held = redis.call('HGET', prefix .. member, 'bytes')
    if held then
      count = count + 1
      bytes = bytes + tonumber(held)
    else
      redis.call('SREM', owner, member)
    end
  end
  return count, bytes
end
"""

ADD = (
    _NOW
    + _HELD
    + """
-- KEYS task, queue, owner; ARGV member, prefix, work, ticket, ttl (ms), most tasks, most bytes
local ttl = tonumber(ARGV[5])
if redis.call('EXISTS', KEYS[1]) == 1 then return {1, 0} end
local count, bytes = held_by(KEYS[3], ARGV[2])
local size = #ARGV[3] + #ARGV[4]
if count >= tonumber(ARGV[6]) or bytes + size > tonumber(ARGV[7]) then return {0, count} end
redis.call('HSET', KEYS[1], 'status', 'working', 'created', text(now), 'updated', text(now), 'expires', text(now + ttl),
  'attempt', 0, 'bytes', size, 'work', ARGV[3], 'ticket', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('ZADD', KEYS[2], text(now), ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('PEXPIRE', KEYS[3], 2 * ttl)
return {1, count}
"""
)

CLAIM = (
    _NOW
    + """
-- KEYS queue; ARGV prefix, lease (ms), token
for _ = 1, 100 do
  local member = redis.call('ZRANGE', KEYS[1], '-inf', text(now), 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not member then return false end
  local key = ARGV[1] .. member
  if redis.call('HGET', key, 'status') == 'working' then
    redis.call('ZADD', KEYS[1], text(now + tonumber(ARGV[2])), member)
    redis.call('HSET', key, 'token', ARGV[3])
    local attempt = redis.call('HINCRBY', key, 'attempt', 1)
    return {member, redis.call('HGET', key, 'work'), attempt}
  end
  redis.call('ZREM', KEYS[1], member)
end
return false
"""
)

RENEW = (
    _NOW
    + """
-- KEYS task, queue; ARGV member, token, lease (ms), message
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[2], 'XX', text(now + tonumber(ARGV[3])), ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'message', ARGV[4], 'updated', text(now)) end
return 1
"""
)

FINISH = (
    _NOW
    + _HELD
    + """
-- KEYS task, queue, owner; ARGV member, prefix, token, status, result, ttl (ms), most bytes
-- A client that lost the answer to this asks again: the same end counts as stored.
if redis.call('HGET', KEYS[1], 'ended_by') == ARGV[3] then return 1 end
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[3] then return 0 end
local ttl = tonumber(ARGV[6])
local _, bytes = held_by(KEYS[3], ARGV[2])
local size = redis.call('HSTRLEN', KEYS[1], 'ticket') + #ARGV[5]
if bytes - tonumber(redis.call('HGET', KEYS[1], 'bytes')) + size > tonumber(ARGV[7]) then return 2 end
redis.call('HDEL', KEYS[1], 'work', 'token', 'message')
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'result', ARGV[5], 'bytes', size, 'updated', text(now),
  'expires', text(now + ttl), 'ended_by', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[3], 2 * ttl)
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""
)

CANCEL = (
    _NOW
    + """
-- KEYS task, queue; ARGV member
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 0 end
if status == 'working' then
  redis.call('HDEL', KEYS[1], 'work', 'token', 'message')
  redis.call('HSET', KEYS[1], 'status', 'cancelled', 'bytes', redis.call('HSTRLEN', KEYS[1], 'ticket'),
    'updated', text(now))
  redis.call('ZREM', KEYS[2], ARGV[1])
end
return 1
"""
)

RELEASE = (
    _NOW
    + """
-- KEYS task, queue; ARGV member, token
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'token')
redis.call('HINCRBY', KEYS[1], 'attempt', -1)
redis.call('ZADD', KEYS[2], 'XX', text(now), ARGV[1])
return 1
"""
)
