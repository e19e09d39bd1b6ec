"""What Redis does in one step. Times are the caller's clock, in seconds, written by Python so that no digit is lost.

A binding is the text `route|bound at|expires at`. Redis' own expiry only clears what nobody looked at for long.
"""

from __future__ import annotations

from reconciler.gateway.runtime.redis_link import Script

LOOK = Script(
    """
-- KEYS binding, index; ARGV now, new expiry ('' = do not slide), expiry in ms, field
local value = redis.call('GET', KEYS[1])
if not value then return {'none'} end
local route, since, ends = string.match(value, '^([^|]*)|([^|]*)|([^|]*)$')
if tonumber(ends) <= tonumber(ARGV[1]) then
  if ARGV[2] ~= '' then
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], ARGV[4])
  end
  return {'expired', route}
end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], route .. '|' .. since .. '|' .. ARGV[2], 'PX', ARGV[3])
  redis.call('ZADD', KEYS[2], ARGV[2], ARGV[4])
end
return {'bound', route}
"""
)

BIND = Script(
    """
-- KEYS binding, index; ARGV now, route, new expiry, expiry in ms, field, instead of
local since = ARGV[1]
local value = redis.call('GET', KEYS[1])
if value then
  local route, bound, ends = string.match(value, '^([^|]*)|([^|]*)|([^|]*)$')
  if route == ARGV[2] then
    since = bound
  elseif route ~= ARGV[6] and tonumber(ends) > tonumber(ARGV[1]) then
    return route
  end
end
redis.call('SET', KEYS[1], ARGV[2] .. '|' .. since .. '|' .. ARGV[3], 'PX', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[5])
return ARGV[2]
"""
)

UNBIND = Script(
    """
-- KEYS binding, index; ARGV field
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""
)

EXCHANGE = Script(
    """
-- KEYS health, version; ARGV field, expected ('' = absent), new ('' = remove)
local present = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if present ~= ARGV[2] then return {0, present} end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('INCR', KEYS[2])
return {1, ARGV[3]}
"""
)

SWEEP = Script(
    """
-- KEYS index; ARGV now, prefix of bindings, at most
local gone = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local value = redis.call('GET', ARGV[2] .. field)
  redis.call('DEL', ARGV[2] .. field)
  redis.call('ZREM', KEYS[1], field)
  gone[#gone + 1] = field
  gone[#gone + 1] = value or ''
end
return gone
"""
)

DROP = Script(
    """
-- KEYS index, health, version, namespaces; ARGV prefix of bindings, namespace
for _, field in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  redis.call('DEL', ARGV[1] .. field)
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('SREM', KEYS[4], ARGV[2])
return 1
"""
)

ADMIT = Script(
    """
-- KEYS minute, running; ARGV now, per minute (''), concurrent (''), replica, member, prefix of signs of life, busy wait
if ARGV[3] ~= '' then
  local running = 0
  local counts = redis.call('HGETALL', KEYS[2])
  for i = 1, #counts, 2 do
    if counts[i] == ARGV[4] or redis.call('EXISTS', ARGV[6] .. counts[i]) == 1 then
      running = running + tonumber(counts[i + 1])
    else
      redis.call('HDEL', KEYS[2], counts[i])
    end
  end
  if running >= tonumber(ARGV[3]) then return ARGV[7] end
end
if ARGV[2] ~= '' then
  local limit = tonumber(ARGV[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', tonumber(ARGV[1]) - 60))
  -- What a clock that was set back since had put into a far future.
  redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.6f', tonumber(ARGV[1]) + 60), '+inf')
  local used = redis.call('ZCARD', KEYS[1])
  if used >= limit then
    local oldest = redis.call('ZRANGE', KEYS[1], used - limit, used - limit, 'WITHSCORES')
    return string.format('%.6f', tonumber(oldest[2]) + 60 - tonumber(ARGV[1]))
  end
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[5])
  redis.call('PEXPIRE', KEYS[1], 61000)
end
if ARGV[3] ~= '' then
  redis.call('HINCRBY', KEYS[2], ARGV[4], 1)
  redis.call('EXPIRE', KEYS[2], 86400)
end
return false
"""
)
