"""The route table in Redis.

One script call per shard serves everybody of a call, all shards in one round trip. A pipeline of
single commands would cost 12–20 µs of Python each. Measured for `index` with 400 users and 200
conversations: 4.5 µs of Python a user (1.5 µs here, the rest in the driver and the loop), 5 to 7 µs
of Redis, 4 ms a call on a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from infra import redis_scripts as scripts
from infra.clock import Clock
from infra.ports import Announced, Attached, GatewayNotice, Head, Inbox, Route
from infra.redis_calls import RedisCalls
from infra.redis_leases import RedisLeases
from infra.redis_presence import RedisPresence
from infra.redis_scripts import Command, run
from infra.routes import (
    STOPPED_KEPT_S,
    LiveGateways,
    by_shard,
    newest_heads,
    parse_route,
    serialize_route,
    session_prefix,
    trim_inbox,
)
from infra.settings import Settings
from infra.tries import in_a_few_tries
from schemas.keys import (
    ANNOUNCED_KEY,
    STOPPED_KEY,
    WATERMARKS_KEY,
    head_key,
    inbox_key,
    left_key,
    readers_key,
    reads_key,
    report_key,
    route_key,
)

__all__ = ["RedisRouteTable"]

_REMEMBERED: Final = 32_768
"""Users whose keys need not be made again: about 10 MB."""


class RedisRouteTable:
    """`ports.RouteTable` over one Redis, or a Redis Cluster.

    All calls may be repeated. One whose answer was lost may have happened; so an `attach` that is
    repeated cannot name the replaced route any more.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._redis = RedisCalls(settings)
        self._leases = RedisLeases(self._redis, clock)
        self._presence = RedisPresence(self._redis, self._leases)

    async def startup(self) -> None:
        """Raises `Unavailable` if Redis does not answer in a few tries."""
        await in_a_few_tries(self._leases.live)

    async def shutdown(self) -> None:
        """Close every connection."""
        await self._redis.close()

    # Leases and routes

    async def renew_lease(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> bool:
        return await self._leases.renew(gateway_id, boot_id, ttl_s, notice)

    async def take_lease(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> None:
        await self._leases.take(gateway_id, boot_id, ttl_s, notice)

    async def drop_lease(self, gateway_id: str, boot_id: str) -> None:
        await self._leases.drop(gateway_id, boot_id)

    async def attach(self, routes: Sequence[tuple[str, Route]]) -> list[Attached]:
        groups = list(by_shard(routes, _user_of))
        answers = await self._redis.call(
            run(
                scripts.ATTACH,
                [key for user_id, _ in group for key in (route_key(user_id), reads_key(user_id))],
                [text for _, route in group for text in (route.device_id, serialize_route(route))],
            )
            for group in groups
        )
        attached: dict[tuple[str, Route], Attached] = {}
        for group, answer in zip(groups, answers, strict=True):
            answered = zip(group, answer[::3], answer[1::3], answer[2::3], strict=True)
            for (user_id, route), device_id, old, large in answered:
                replaced = parse_route(device_id, old) if old is not None else None
                if replaced is not None and replaced.session_id == route.session_id:
                    replaced = None
                seqs = zip(large[::2], map(int, large[1::2]), strict=True)
                attached[user_id, route] = Attached(replaced, dict(seqs))
        return [attached[pair] for pair in routes]

    async def detach(self, routes: Sequence[tuple[str, Route]]) -> None:
        await self._redis.call(
            run(
                scripts.DETACH,
                [route_key(user_id) for user_id, _ in group],
                [text for _, route in group for text in (route.device_id, session_prefix(route))],
            )
            for group in by_shard(routes, _user_of)
        )

    async def live_gateways(self) -> dict[str, str]:
        return dict((await self._leases.live()).boots)

    async def gateways(self) -> list[GatewayNotice]:
        return await self._leases.notices()

    async def routes_of(self, user_ids: Sequence[str]) -> dict[str, list[Route]]:
        groups = list(by_shard(user_ids))
        answers = await self._redis.call(run(scripts.ROUTES, map(route_key, group), ()) for group in groups)
        return await self._leases.judge(lambda live: _routes(live, groups, answers))

    # Who is there

    async def watch(self, user_ids: Sequence[str], gateway_id: str) -> None:
        await self._presence.watch(user_ids, gateway_id)

    async def note_seen(self, user_ids: Sequence[str], at_ms: int) -> dict[str, tuple[str, ...]]:
        return await self._presence.note_seen(user_ids, at_ms)

    async def last_seen(self, user_ids: Sequence[str]) -> dict[str, int]:
        return await self._presence.last_seen(user_ids)

    # Fan-out

    async def index(
        self, touched: Mapping[str, Mapping[str, int]], heads: Mapping[str, Head]
    ) -> dict[str, tuple[str, ...]]:
        # Heads first: who sees the inbox entry finds the head.
        raised = [_raise_heads(group, heads) for group in by_shard(heads)]
        groups = list(by_shard(touched))
        answers = await self._redis.call(raised + [_index(group, touched) for group in groups])
        return await self._leases.judge(lambda live: _gateways(live, groups, answers[len(raised) :]))

    async def readers(self, conversation_id: str) -> tuple[str, ...] | None:
        (gateway_ids,) = await self._redis.call([("SMEMBERS", readers_key(conversation_id))])
        if "" not in gateway_ids:
            return None
        return await self._leases.judge(lambda live: live.among(gateway_ids - {""}))

    async def fill_readers(self, conversation_id: str, members: Mapping[str, int]) -> tuple[str, ...]:
        # A gateway that attaches a member meanwhile either is found here or adds itself, and what it
        # adds must outlive the filling: hence the touch.
        await self._redis.call([("EXPIRE", readers_key(conversation_id), scripts.READERS_KEPT_S)])
        gateway_ids = await self._note_joined(conversation_id, members)
        await self._add_readers([conversation_id], {"", *gateway_ids})
        return await self._leases.judge(lambda live: live.among(gateway_ids))

    async def join_readers(self, conversation_id: str, users: Sequence[str], seq: int) -> tuple[str, ...]:
        gateway_ids = await self._note_joined(conversation_id, dict.fromkeys(users, seq))
        if gateway_ids:
            await self._add_readers([conversation_id], gateway_ids)
        return await self._leases.judge(lambda live: live.among(gateway_ids))

    async def leave_readers(self, conversation_id: str, users: Sequence[str], seq: int) -> tuple[str, ...]:
        groups = list(by_shard(users))
        gateway_ids = await self._located(
            groups, [run(scripts.NOTE_LEFT, _reader_keys(group), [conversation_id, seq]) for group in groups]
        )
        return await self._leases.judge(lambda live: live.among(gateway_ids))

    async def add_reader(self, conversation_ids: Sequence[str], gateway_id: str) -> None:
        await self._add_readers(conversation_ids, {gateway_id})

    # Sync

    async def inbox(self, user_id: str, since_ms: int) -> Inbox:
        keys = [inbox_key(user_id), reads_key(user_id)]
        ((complete_from, entries, large),) = await self._redis.call([run(scripts.INBOX, keys, [since_ms])])
        changed = {name: int(at_ms) for name, at_ms in zip(entries[::2], entries[1::2], strict=True)}
        changed.pop("", None)
        complete = complete_from is not None and int(complete_from) <= max(since_ms, 0)
        return Inbox(complete, changed, sorted(large))

    async def restore_inbox(self, user_id: str, changed: Mapping[str, int], complete: bool) -> None:
        newest, complete_from_ms = trim_inbox(changed)
        pairs = [value for name, at_ms in newest.items() for value in (at_ms, name)]
        arguments = [complete_from_ms if complete else -1, *pairs]
        await self._redis.call([run(scripts.RESTORE_INBOX, [inbox_key(user_id)], arguments)])

    async def pulse(self, users: Sequence[tuple[str, int]]) -> list[dict[str, int]]:
        groups = list(by_shard(dict.fromkeys(users), _user_of))
        answers = await self._redis.call(
            run(
                scripts.CHANGED,
                [key for user_id, _ in group for key in (inbox_key(user_id), reads_key(user_id))],
                [since_ms for _, since_ms in group],
            )
            for group in groups
        )
        candidates: dict[tuple[str, int], set[str]] = {}
        for group, answer in zip(groups, answers, strict=True):
            for user, newest, large in zip(group, answer[::2], answer[1::2], strict=True):
                candidates[user] = {*newest, *large}
        heads = await self.heads(list(set().union(*candidates.values())))
        return [newest_heads(candidates[user], heads, user[1]) for user in users]

    async def heads(self, conversation_ids: Sequence[str]) -> dict[str, Head]:
        groups = list(by_shard(conversation_ids))
        answers = await self._redis.call(run(scripts.HEADS, map(head_key, group), ()) for group in groups)
        return {
            name: Head(int(seq), int(at_ms))
            for name, (seq, at_ms) in _paired(groups, answers)
            if seq is not None
        }

    # Watermarks

    async def set_watermarks(self, stage: str, done: Mapping[int, int]) -> None:
        if done:
            fields = [value for number, at_ms in done.items() for value in (f"{stage}:{number}", at_ms)]
            await self._redis.call([("HSET", WATERMARKS_KEY, *fields)])

    async def watermarks(self, stage: str) -> dict[int, int]:
        (done,) = await self._redis.call([("HGETALL", WATERMARKS_KEY)])
        named = ((*field.rpartition(":"), at_ms) for field, at_ms in done.items())
        return {int(number): int(at_ms) for name, _, number, at_ms in named if name == stage}

    async def watermark(self, stages: Sequence[str], partitions: int) -> int:
        fields = [f"{stage}:{number}" for stage in stages for number in range(partitions)]
        (done,) = await self._redis.call([("HMGET", WATERMARKS_KEY, *fields)])
        return min(int(at_ms) if at_ms is not None else 0 for at_ms in done)

    # Who runs

    async def announce(self, process: Announced, ttl_s: float) -> None:
        named = f"{process.role}|{process.name}|{process.address}"
        await self._redis.call([run(scripts.ANNOUNCE, [ANNOUNCED_KEY], [int(ttl_s * 1000), named])])

    async def announced(self) -> list[Announced]:
        (named,) = await self._redis.call([run(scripts.ANNOUNCED, [ANNOUNCED_KEY], [])])
        return sorted(Announced(*text.split("|", 2)) for text in named)

    # Reports

    async def put_report(self, name: str, report: bytes, ttl_s: float) -> None:
        await self._redis.call([("SET", report_key(name), report.decode(), "PX", int(ttl_s * 1000))])

    async def report(self, name: str) -> bytes | None:
        (found,) = await self._redis.call([("GET", report_key(name))])
        return None if found is None else str(found).encode()

    # Stages that stopped on purpose

    async def report_stopped(self, stage: str, reason: str) -> None:
        said = f"{self._clock.now_ms()}|{reason}"
        await self._redis.call([("HSET", STOPPED_KEY, stage, said), ("EXPIRE", STOPPED_KEY, 3_600)])

    async def stopped(self) -> dict[str, str]:
        (said,) = await self._redis.call([("HGETALL", STOPPED_KEY)])
        since_ms = self._clock.now_ms() - 1_000 * STOPPED_KEPT_S
        parts = {stage: text.partition("|") for stage, text in said.items()}
        return {stage: reason for stage, (at_ms, _, reason) in parts.items() if int(at_ms) > since_ms}

    # Behind them

    async def _note_joined(self, conversation_id: str, members: Mapping[str, int]) -> set[str]:
        """Note the conversation for these users (→ seq of joining). The gateways of all their routes."""
        groups = list(by_shard(members))
        commands = [
            run(
                scripts.NOTE_JOINED,
                _reader_keys(group),
                [conversation_id, *(members[user_id] for user_id in group)],
            )
            for group in groups
        ]
        return await self._located(groups, commands)

    async def _located(self, groups: list[list[str]], commands: list[Command]) -> set[str]:
        """The gateways of all routes that these answer for each group of users, live or not."""
        answers = await self._redis.call(commands)
        return {text.partition("|")[0] for _, stored in _paired(groups, answers) for text in stored}

    async def _add_readers(self, conversation_ids: Iterable[str], gateway_ids: set[str]) -> None:
        await self._redis.call(
            run(scripts.ADD_READERS, map(readers_key, group), gateway_ids)
            for group in by_shard(conversation_ids)
        )


def _user_of(pair: tuple[str, object]) -> str:
    return pair[0]


@lru_cache(maxsize=_REMEMBERED)
def _index_keys(user_id: str) -> tuple[str, str]:
    return route_key(user_id), inbox_key(user_id)


def _reader_keys(users: list[str]) -> list[str]:
    return [key(user_id) for user_id in users for key in (route_key, reads_key, left_key)]


def _index(users: list[str], touched: Mapping[str, Mapping[str, int]]) -> Command:
    keys: list[str] = []
    arguments: list[str | int] = []
    for user_id in users:
        keys += _index_keys(user_id)
        changed = touched[user_id]
        arguments.append(len(changed))
        for conversation_id, at_ms in changed.items():
            arguments += (at_ms, conversation_id)
    return run(scripts.INDEX, keys, arguments)


def _raise_heads(conversation_ids: list[str], heads: Mapping[str, Head]) -> Command:
    raised = [heads[name] for name in conversation_ids]
    numbers = [number for head in raised for number in (head.seq, head.at_ms)]
    return run(scripts.RAISE_HEADS, map(head_key, conversation_ids), numbers)


def _gateways(
    live: LiveGateways, groups: list[list[str]], answers: list[list[list[str]]]
) -> dict[str, tuple[str, ...]]:
    return {
        user_id: gateways
        for user_id, stored in _paired(groups, answers)
        if stored and (gateways := live.gateways_of(stored))
    }


def _routes(
    live: LiveGateways, groups: list[list[str]], answers: list[list[list[str]]]
) -> dict[str, list[Route]]:
    found: dict[str, list[Route]] = {}
    for user_id, stored in _paired(groups, answers):
        devices = zip(stored[::2], stored[1::2], strict=True)
        routes = [parse_route(device_id, text) for device_id, text in devices if live.gateway_of(text)]
        if routes:
            found[user_id] = routes
    return found


def _paired(groups: Iterable[list[str]], answers: Iterable[list[Any]]) -> Iterator[tuple[str, Any]]:
    """Each name with its part of the answers."""
    for group, answer in zip(groups, answers, strict=True):
        yield from zip(group, answer, strict=True)
