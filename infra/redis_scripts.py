"""The Lua scripts of the route table: one for each operation, many keys in one call.

Every script is given keys of one hash tag only, so each runs on whichever node of a cluster holds the
shard. Every script may run twice with the same arguments and leave the same state, so a call whose
answer was lost is simply made again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final

from infra.routes import MAX_DEVICES, MAX_INBOX, MAX_PULSE

__all__ = [
    "ADD_READERS",
    "ANNOUNCE",
    "ANNOUNCED",
    "ATTACH",
    "CHANGED",
    "DETACH",
    "DROP_LEASE",
    "HEADS",
    "INBOX",
    "INDEX",
    "NOTE_JOINED",
    "NOTE_LEFT",
    "NOTE_SEEN",
    "RAISE_HEADS",
    "READERS_KEPT_S",
    "RENEW_LEASE",
    "RESTORE_INBOX",
    "ROUTES",
    "WATCH",
    "Command",
    "Script",
    "run",
    "text_command",
]

_DAY_S = 86_400
_INBOX_KEPT_S = 30 * _DAY_S
_STRAY_INBOX_KEPT_S = _DAY_S
_HEAD_KEPT_S = 30 * _DAY_S
_SEEN_KEPT_S = 30 * _DAY_S
_WATCHED_S = 3_600
_LEFT_KEPT_S = _DAY_S
READERS_KEPT_S: Final = 3_600

Command = tuple[str | int, ...]
"""A Redis command with its arguments."""
_TEXTS: Final[dict[str, str]] = {}
"""Every script there is, by the name under which Redis keeps it."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the name by which Redis knows it once it has run."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text.encode(), usedforsecurity=False).hexdigest())
        _TEXTS[self.sha] = self.text


RENEW_LEASE: Final = Script("""
-- KEYS: lease. ARGV: boot, ttl_ms. Answers: is it ours?
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")

DROP_LEASE: Final = Script("""
-- KEYS: lease. ARGV: boot.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
""")

ATTACH: Final = Script(f"""
-- KEYS: route, reads of each. ARGV: device, value of each.
-- Answers, of each: device and value of the route that was put out (or none), reads (conversation, seq, ...).
local function since(value) return tonumber(string.match(value, '|(%d+)$')) end
local function put_oldest_out(key)
  local all = redis.call('HGETALL', key)
  local oldest = 1
  for i = 3, #all, 2 do
    if since(all[i + 1]) < since(all[oldest + 1]) then oldest = i end
  end
  redis.call('HDEL', key, all[oldest])
  return all[oldest], all[oldest + 1]
end
local answers = {{}}
for i = 1, #KEYS, 2 do
  local device, value = ARGV[i], redis.call('HGET', KEYS[i], ARGV[i])
  redis.call('HSET', KEYS[i], ARGV[i], ARGV[i + 1])
  if not value and redis.call('HLEN', KEYS[i]) > {MAX_DEVICES} then
    device, value = put_oldest_out(KEYS[i])
  end
  answers[#answers + 1] = device
  answers[#answers + 1] = value
  answers[#answers + 1] = redis.call('HGETALL', KEYS[i + 1])
end
return answers
""")

DETACH: Final = Script("""
-- KEYS: route of each. ARGV: device, gateway|boot|session| of each.
for i = 1, #KEYS do
  local device, session = ARGV[2 * i - 1], ARGV[2 * i]
  local held = redis.call('HGET', KEYS[i], device)
  if held and string.sub(held, 1, #session) == session then redis.call('HDEL', KEYS[i], device) end
end
""")

ROUTES: Final = Script("""
-- KEYS: route of each. Answers: device, value, ... of each.
local answers = {}
for i = 1, #KEYS do answers[i] = redis.call('HGETALL', KEYS[i]) end
return answers
""")

WATCH: Final = Script(f"""
-- KEYS: watchers of each. ARGV: gateway.
for i = 1, #KEYS do
  redis.call('SADD', KEYS[i], ARGV[1])
  redis.call('EXPIRE', KEYS[i], {_WATCHED_S})
end
""")

NOTE_SEEN: Final = Script(f"""
-- KEYS: seen, watchers of each. ARGV: at_ms. Answers: watchers of each.
local answers = {{}}
for i = 1, #KEYS, 2 do
  local held = redis.call('GET', KEYS[i])
  if not held or tonumber(held) < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[i], ARGV[1], 'EX', {_SEEN_KEPT_S})
  end
  answers[#answers + 1] = redis.call('SMEMBERS', KEYS[i + 1])
end
return answers
""")

# Member "" of an inbox: it holds everything from its score (ms) on. Without it nothing is promised, and
# the entries serve only a restore that is under way: so a stray inbox goes after a day.
_ADD_TO_INBOX = f"""
local function trim(inbox, count)
  local complete = redis.call('ZSCORE', inbox, '')
  if complete then
    redis.call('ZREM', inbox, '')
    count = count - 1
  end
  local dropped = redis.call('ZRANGE', inbox, 0, count - {MAX_INBOX} - 1, 'WITHSCORES')
  if #dropped > 0 then
    redis.call('ZREMRANGEBYRANK', inbox, 0, count - {MAX_INBOX} - 1)
    complete = complete and math.max(complete, dropped[#dropped] + 1)
  end
  if complete then redis.call('ZADD', inbox, complete, '') end
end
-- Strides: Lua can pass only so many arguments at once.
local function add_to_inbox(inbox, first, last)
  for at = first, last, 2000 do
    local added = redis.call('ZADD', inbox, 'GT', unpack(ARGV, at, math.min(at + 1999, last)))
    if added > 0 then
      local count = redis.call('ZCARD', inbox)
      if count == added then redis.call('EXPIRE', inbox, {_STRAY_INBOX_KEPT_S}) end
      if count > {MAX_INBOX} + 1 then trim(inbox, count) end
    end
  end
end
"""

INDEX: Final = Script(f"""{_ADD_TO_INBOX}
-- KEYS: route, inbox of each. ARGV, of each: how many, then so many times at_ms, conversation.
-- Answers: route values of each.
local answers, at = {{}}, 1
for i = 1, #KEYS, 2 do
  local last = at + 2 * ARGV[at]
  add_to_inbox(KEYS[i + 1], at + 1, last)
  at = last + 1
  answers[#answers + 1] = redis.call('HVALS', KEYS[i])
end
return answers
""")

RESTORE_INBOX: Final = Script(f"""{_ADD_TO_INBOX}
-- KEYS: inbox. ARGV: complete from (ms; -1: not complete), then at_ms, conversation of each.
if ARGV[1] ~= '-1' then redis.call('ZADD', KEYS[1], ARGV[1], '') end
add_to_inbox(KEYS[1], 2, #ARGV)
if ARGV[1] ~= '-1' then redis.call('EXPIRE', KEYS[1], {_INBOX_KEPT_S}) end
""")

INBOX: Final = Script(f"""
-- KEYS: inbox, reads. ARGV: since_ms. Answers: complete from, (conversation, at_ms) newest first, large.
local complete = redis.call('ZSCORE', KEYS[1], '')
if complete then redis.call('EXPIRE', KEYS[1], {_INBOX_KEPT_S})
else redis.call('EXPIRE', KEYS[1], {_STRAY_INBOX_KEPT_S}) end
return {{
  complete,
  redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', ARGV[1], 'WITHSCORES'),
  redis.call('HKEYS', KEYS[2]),
}}
""")

CHANGED: Final = Script(f"""
-- KEYS: inbox, reads of each. ARGV: since_ms of each. Answers: newest of the inbox, large of each.
local answers = {{}}
for i = 1, #KEYS, 2 do
  answers[i] = redis.call('ZREVRANGEBYSCORE', KEYS[i], '+inf', ARGV[(i + 1) / 2], 'LIMIT', 0, {MAX_PULSE} + 1)
  answers[i + 1] = redis.call('HKEYS', KEYS[i + 1])
end
return answers
""")

RAISE_HEADS: Final = Script(f"""
-- KEYS: head of each. ARGV: seq, at_ms of each.
for i = 1, #KEYS do
  local held = redis.call('HGET', KEYS[i], 'seq')
  if not held or tonumber(held) < tonumber(ARGV[2 * i - 1]) then
    redis.call('HSET', KEYS[i], 'seq', ARGV[2 * i - 1], 'at_ms', ARGV[2 * i])
    redis.call('EXPIRE', KEYS[i], {_HEAD_KEPT_S})
  end
end
""")

HEADS: Final = Script("""
-- KEYS: head of each. Answers: seq, at_ms of each.
local answers = {}
for i = 1, #KEYS do answers[i] = redis.call('HMGET', KEYS[i], 'seq', 'at_ms') end
return answers
""")

# Events may come again, older ones after newer ones: the highest seq of both decides who is inside.
NOTE_JOINED: Final = Script("""
-- KEYS: route, reads, left of each. ARGV: conversation, then seq of each. Answers: route values of each.
local answers = {}
for i = 1, #KEYS, 3 do
  local n = #answers + 1
  local seq = tonumber(ARGV[n + 1])
  local reads = tonumber(redis.call('HGET', KEYS[i + 1], ARGV[1]) or 0)
  local left = tonumber(redis.call('HGET', KEYS[i + 2], ARGV[1]) or 0)
  if seq > reads and seq > left then redis.call('HSET', KEYS[i + 1], ARGV[1], ARGV[n + 1]) end
  answers[n] = redis.call('HVALS', KEYS[i])
end
return answers
""")

NOTE_LEFT: Final = Script(f"""
-- KEYS: route, reads, left of each. ARGV: conversation, seq. Answers: route values of each.
local answers, seq = {{}}, tonumber(ARGV[2])
for i = 1, #KEYS, 3 do
  local reads = tonumber(redis.call('HGET', KEYS[i + 1], ARGV[1]) or 0)
  local left = tonumber(redis.call('HGET', KEYS[i + 2], ARGV[1]) or 0)
  if reads <= seq then redis.call('HDEL', KEYS[i + 1], ARGV[1]) end
  if left < seq then redis.call('HSET', KEYS[i + 2], ARGV[1], ARGV[2]) end
  redis.call('EXPIRE', KEYS[i + 2], {_LEFT_KEPT_S})
  answers[#answers + 1] = redis.call('HVALS', KEYS[i])
end
return answers
""")

# A reader set is filled anew every hour: so it forgets gateways that are gone, and heals after a part
# of the users' shards was lost.
ADD_READERS: Final = Script(f"""
-- KEYS: readers of each. ARGV: gateways, and "" for complete.
for i = 1, #KEYS do
  redis.call('SADD', KEYS[i], unpack(ARGV))
  redis.call('EXPIRE', KEYS[i], {READERS_KEPT_S}, 'NX')
end
""")

# By Redis's own clock: whoever announces and whoever asks may have clocks that differ.
_NOW = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""

ANNOUNCE: Final = Script(f"""{_NOW}
-- KEYS: announced. ARGV: ttl_ms, name.
redis.call('ZADD', KEYS[1], now_ms + ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now_ms)
""")

ANNOUNCED: Final = Script(f"""{_NOW}
-- KEYS: announced. Answers: names.
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', now_ms), '+inf')
""")


def run(script: Script, keys: Iterable[str], arguments: Iterable[str | int]) -> Command:
    """Run a script that Redis has seen before."""
    named = tuple(keys)
    return ("EVALSHA", script.sha, len(named), *named, *arguments)


def text_command(command: Command) -> Command:
    """The same call for a Redis that has not seen the script (or lost it): the text goes along once."""
    _, sha, *rest = command
    return ("EVAL", _TEXTS[str(sha)], *rest)
