"""The Lua scripts of the shared limits. One hash tag, so that one node holds them; times are Redis's own.

As those of the route table, each may run twice with the same arguments and leave the same state.
"""

from __future__ import annotations

from typing import Final

from infra.limits import CREDIT_KEPT_MS, DEMAND_KEPT_MS, MAX_SUSPENDED
from infra.redis_scripts import Script

__all__ = ["BALANCE", "LIFT", "NOTICE", "SET_QUOTA", "SUSPEND"]

_KEPT_S = 30 * 86_400

_COMMON = f"""
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function version()
  local held = redis.call('GET', KEYS[1])
  if not held then
    held = string.format('%d.0', now_ms)
    redis.call('SET', KEYS[1], held)
  end
  redis.call('EXPIRE', KEYS[1], {_KEPT_S})
  return held
end
local function changed()
  local born, count = string.match(version(), '^(%d+)%.(%d+)$')
  redis.call('SET', KEYS[1], string.format('%s.%d', born, count + 1), 'EX', {_KEPT_S})
end
"""

SUSPEND: Final = Script(f"""{_COMMON}
-- KEYS: version, suspended. ARGV: subject, for_ms, reason of each.
local function ending(held) return tonumber(string.match(held, '|(%d+)|')) end
local function has_room()
  if redis.call('HLEN', KEYS[2]) < {MAX_SUSPENDED} then return true end
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if ending(all[i + 1]) <= now_ms then redis.call('HDEL', KEYS[2], all[i]) end
  end
  return redis.call('HLEN', KEYS[2]) < {MAX_SUSPENDED}
end
local function put(subject, since_ms, until_ms, reason)
  redis.call('HSET', KEYS[2], subject, string.format('%d|%d|%s', since_ms, until_ms, reason))
  if redis.call('PTTL', KEYS[2]) < until_ms - now_ms then
    redis.call('PEXPIRE', KEYS[2], until_ms - now_ms)
  end
  return true
end
local moved = false
for i = 1, #ARGV, 3 do
  local subject, until_ms = ARGV[i], now_ms + ARGV[i + 1]
  local held = redis.call('HGET', KEYS[2], subject)
  if held and ending(held) > now_ms then
    local since_ms, reason = string.match(held, '^(%d+)|%d+|(.*)$')
    if ending(held) < until_ms then moved = put(subject, since_ms, until_ms, reason) end
  elseif held or has_room() then
    moved = put(subject, now_ms, until_ms, ARGV[i + 2])
  end
end
if moved then changed() end
""")

LIFT: Final = Script(f"""{_COMMON}
-- KEYS: version, suspended. ARGV: subject. Was it suspended?
local held = redis.call('HGET', KEYS[2], ARGV[1])
if not held then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
changed()
return tonumber(string.match(held, '|(%d+)|')) > now_ms and 1 or 0
""")

SET_QUOTA: Final = Script(f"""{_COMMON}
-- KEYS: version, quotas. ARGV: tenant, messages a second ("": as settings say).
if ARGV[2] == '' then redis.call('HDEL', KEYS[2], ARGV[1])
else redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
redis.call('EXPIRE', KEYS[2], {_KEPT_S})
changed()
""")

NOTICE: Final = Script(f"""{_COMMON}
-- KEYS: version, suspended, quotas. ARGV: the version that is known.
-- Answers: now_ms, version, and if it is another one: suspended, quotas.
redis.call('EXPIRE', KEYS[3], {_KEPT_S})
local held = version()
if held == ARGV[1] then return {{now_ms, held}} end
return {{now_ms, held, redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}}
""")

BALANCE: Final = Script(f"""
-- KEYS: demand of each tenant. ARGV: gateway, boot, then of each: quota, used in all, wanted.
-- Answers, of each: credit, then gateway, wanted of each gateway that spoke lately.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {{}}
for i = 1, #KEYS do
  local key, quota, used = KEYS[i], tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local at, credit = string.match(redis.call('HGET', key, '') or '', '^(%d+)|(.+)$')
  at, credit = at or now_ms, tonumber(credit or 0)
  credit = math.min(quota * {CREDIT_KEPT_MS} / 1000, credit + quota * (now_ms - at) / 1000)
  local boot, before = string.match(redis.call('HGET', key, ARGV[1]) or '', '^%d+|([^|]*)|(%d+)|')
  if boot ~= ARGV[2] then before = boot and 0 or used end
  credit = credit - (used - before)
  redis.call('HSET', key, '', string.format('%d|%.6f', now_ms, credit))
  redis.call('HSET', key, ARGV[1], string.format('%d|%s|%d|%s', now_ms, ARGV[2], used, ARGV[3 * i + 2]))
  redis.call('PEXPIRE', key, {5 * DEMAND_KEPT_MS})
  local answer = {{string.format('%.6f', credit)}}
  local all = redis.call('HGETALL', key)
  for j = 1, #all, 2 do
    if all[j] ~= '' then
      local spoke, wanted = string.match(all[j + 1], '^(%d+)|[^|]*|%d+|(.*)$')
      if now_ms - spoke > {DEMAND_KEPT_MS} then redis.call('HDEL', key, all[j])
      else
        answer[#answer + 1] = all[j]
        answer[#answer + 1] = wanted
      end
    end
  end
  answers[i] = answer
end
return answers
""")
