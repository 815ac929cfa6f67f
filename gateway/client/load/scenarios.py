"""The scenarios of `im bench`: what is connected, what is sent, what must hold."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from gateway.client.client import Client
from gateway.client.errors import ServerRefused
from gateway.client.load.connection import now_us
from gateway.client.load.fleet import Fleet, raise_file_limit
from gateway.client.load.meter import Cost, Meter, find_stack, memory_bytes, process_name
from gateway.client.load.report import Environment, Report, Threshold, latency_of, losses
from gateway.client.load.share import Connected, Member, Outcome, Share, Timing
from schemas.codes import Code
from schemas.errors import BadInput, Unavailable
from schemas.ids import direct_conversation

__all__ = ["Bench", "Target"]

HEAD_START_S: Final = 0.5
STORED_TRIES: Final = 300
STORED_RETRY_S: Final = 0.1
STORED_SAMPLES: Final = 8
MEMBERS_A_REQUEST: Final = 1_000
SETTLE_S: Final = 3.0
P99_MS: Final = 1_000
OVERLOAD_P99_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured. `mint` makes a token for a user; `pids` are the processes that are charged."""

    url: str
    mint: Callable[[str], str]
    run: str
    environment: Environment
    processes: int = 1
    pids: tuple[int, ...] = ()
    warmup_s: float = 3.0
    measured_s: float = 10.0
    grace_s: float = 30.0
    text_bytes: int = 32
    overload: bool = False
    """More is offered than can be carried, on purpose: what is accepted must be quick, the rest refused."""


class Bench:
    """Runs scenarios against one target. Every load is bounded in time and in count."""

    def __init__(self, target: Target) -> None:
        self._target = target
        parts = urlsplit(target.url)
        if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise BadInput("the load generator speaks to this machine only; run it beside the gateway")
        self._host, self._port = parts.hostname, parts.port or 80
        self._pids = target.pids or tuple(find_stack(self._port))

    # Scenarios

    def pairs(self, pairs: int, rate: float) -> Report:
        """`pairs` one-to-one conversations, `rate` messages a second over all of them."""
        members = [member for number in range(pairs) for member in self._pair(number)]
        outcome, costs = self._run(self._shares(members, rate, group_of=2))
        report = self._report("pairs", {"pairs": pairs, "messages_per_s": rate}, outcome, costs)
        stored_s = asyncio.run(self._stored_after([m for m in members if m.sender >= 0], outcome))
        report.figures["stored after the last send, s"] = round(stored_s, 2)
        return report

    def group(self, members: int, rate: float, senders: int = 10) -> Report:
        """One group of `members`, all connected; `senders` of them send `rate` messages a second."""
        users = [f"{self._target.run}-m{number}" for number in range(members)]
        conversation_id, head = asyncio.run(self._make_group(users))
        everyone = [
            Member(self._target.mint(user), conversation_id, number if number < senders else -1)
            for number, user in enumerate(users)
        ]
        shares = self._shares(everyone, rate, group_of=1)
        shares = [replace(share, shared=True, base_seq=head + 1) for share in shares]
        outcome, costs = self._run(shares)
        report = self._report("group", {"members": members, "messages_per_s": rate}, outcome, costs)
        report.figures["delivered messages/s"] = round(outcome.delivered_in_window / self._target.measured_s)
        return report

    def idle(self, connections: int) -> Report:
        """`connections` that do nothing: how fast they open, and what one costs the gateway in memory."""
        before = self._gateway_memory()
        with self._fleet(connections) as fleet:
            opened = fleet.connect()
            time.sleep(SETTLE_S)
            after = self._gateway_memory()
            outcome = fleet.hold(self._target.measured_s)
        report = self._report("idle", {"connections": connections}, outcome, [])
        self._note_connects(report, opened)
        if before and after:
            each = (after - before) / connections / 1024
            report.figures["gateway memory a connection, KiB"] = round(each, 2)
        return report

    def storm(self, connections: int) -> Report:
        """`connections` are cut at once and come back at once, each asking for its session."""
        with self._fleet(connections) as fleet:
            fleet.connect()
            time.sleep(SETTLE_S)
            back = fleet.storm()
            outcome = fleet.hold(SETTLE_S)
        report = self._report("storm", {"connections": connections}, outcome, [])
        self._note_connects(report, back)
        report.figures["sessions resumed"] = sum(part.resumed for part in back)
        return report

    def find_max(self, pairs: int, start: float, factor: float = 1.25, steps: int = 12) -> list[Report]:
        """Raise the rate until p99 reaches a second, answers fall behind or something is lost.

        Every step is a report; the last one that held is the highest sustained rate.
        """
        reports: list[Report] = []
        for step in range(steps):
            bench = Bench(replace(self._target, run=f"{self._target.run[:6]}{step:02d}", pids=self._pids))
            report = bench.pairs(pairs, round(start * factor**step))
            reports.append(report)
            if not report.passed:
                break
        return reports

    # Parts of them

    def _pair(self, number: int) -> tuple[Member, Member]:
        speaker, listener = f"{self._target.run}-a{number}", f"{self._target.run}-b{number}"
        conversation_id = direct_conversation(speaker, listener)
        mint = self._target.mint
        return Member(mint(speaker), conversation_id, number), Member(mint(listener), conversation_id)

    def _shares(self, members: Sequence[Member], rate: float, group_of: int) -> list[Share]:
        """Deal the members to the processes, neighbours of `group_of` together; rates follow the senders."""
        processes = min(self._target.processes, max(1, len(members) // group_of))
        senders = sum(member.sender >= 0 for member in members)
        shares = []
        for number in range(processes):
            own = [m for place, m in enumerate(members) if place // group_of % processes == number]
            part = sum(member.sender >= 0 for member in own) / senders if senders else 0.0
            shares.append(
                Share(
                    host=self._host,
                    port=self._port,
                    run=self._target.run,
                    members=own,
                    messages_per_s=rate * part,
                    text="x" * self._target.text_bytes,
                )
            )
        return shares

    def _fleet(self, connections: int) -> Fleet:
        raise_file_limit(connections + 1_000)
        mint, run = self._target.mint, self._target.run
        members = [Member(mint(f"{run}-i{number}")) for number in range(connections)]
        return Fleet(self._shares(members, 0.0, group_of=1))

    def _run(self, shares: list[Share]) -> tuple[Outcome, list[Cost]]:
        target = self._target
        raise_file_limit(max(len(share.members) for share in shares) + 1_000)
        with Fleet(shares) as fleet:
            fleet.connect()
            start_us = now_us() + int(HEAD_START_S * 1e6)
            timing = Timing(start_us, target.warmup_s, target.measured_s, target.grace_s)
            meter = Meter(self._pids, fleet.pids)
            fleet.start(timing)
            _sleep_until(timing.from_us)
            meter.begin()
            _sleep_until(timing.until_us)
            costs = meter.end()
            return fleet.finish(), costs

    def _report(
        self, scenario: str, parameters: dict[str, float], outcome: Outcome, costs: list[Cost]
    ) -> Report:
        target = self._target
        report = Report(
            scenario, target.environment, {**parameters, "seconds": target.measured_s}, costs=costs
        )
        report.thresholds = losses(outcome, target.overload)
        report.messages = outcome.accepted_us.total()
        for name, counts in (
            ("accepted", outcome.accepted_us),
            ("sent", outcome.sent_us),
            ("deliver", outcome.delivered_us),
        ):
            if counts:
                report.latencies.append(latency_of(name, counts))
        if outcome.sends:
            report.figures["sends"] = outcome.sends
            report.figures["accepted messages/s"] = round(report.messages / target.measured_s, 1)
            report.figures["sent late by the generator, p99 ms"] = latency_of("", outcome.late_us).p99_ms
            report.figures["last answer after the last send, s"] = round(outcome.settled_s, 2)
            p99_ms = OVERLOAD_P99_MS if target.overload else P99_MS
            report.thresholds.append(Threshold("deliver p99, ms", _p99_ms(outcome.delivered_us), p99_ms))
        if outcome.rejections[int(Code.RATE_LIMITED)]:
            report.notes.append("The gateway limits rates (1301): run it with IM_LIMITS=off to measure more.")
        for code, count in sorted(outcome.rejections.items()):
            report.notes.append(f"{count} sends were rejected with {code}.")
        for code, count in sorted(outcome.closed.items()):
            report.notes.append(f"{count} connections were closed with {code}.")
        return report

    def _note_connects(self, report: Report, opened: Sequence[Connected]) -> None:
        count, slowest_s = sum(part.count for part in opened), max(part.took_s for part in opened)
        times = Counter(time_us for part in opened for time_us in part.times_us)
        report.latencies.append(latency_of("connect to welcome", times))
        report.figures["connections"] = count
        report.figures["connections/s"] = round(count / slowest_s)

    def _gateway_memory(self) -> int:
        return sum(memory_bytes(pid) for pid in self._pids if process_name(pid).startswith("gateway"))

    async def _make_group(self, users: Sequence[str]) -> tuple[str, int]:
        """A group of these users, owned by the first; its id and how far its conversation reaches."""
        owner, *others = users
        async with Client(self._target.url, self._target.mint(owner)) as client:
            first = others[:MEMBERS_A_REQUEST]
            conversation_id = await client.create_group("bench", first)
            for place in range(len(first), len(others), MEMBERS_A_REQUEST):
                await client.add_members(conversation_id, others[place : place + MEMBERS_A_REQUEST])
            return conversation_id, await _stored_head(client, conversation_id, at_least=1)

    async def _stored_after(self, speakers: Sequence[Member], outcome: Outcome) -> float:
        """Seconds until the last message of some conversations can be read from the store."""
        began = time.monotonic()
        for member in speakers[:: max(1, len(speakers) // STORED_SAMPLES)]:
            async with Client(self._target.url, member.token) as client:
                head = outcome.conversations[member.conversation_id].head
                await _stored_head(client, member.conversation_id, head)
        return time.monotonic() - began + outcome.settled_s


async def _stored_head(client: Client, conversation_id: str, at_least: int) -> int:
    """The newest stored seq, once it is `at_least`. Raises `Unavailable` if that takes too long."""
    for _ in range(STORED_TRIES):
        head = await _newest_seq(client, conversation_id)
        if head >= at_least:
            return head
        await asyncio.sleep(STORED_RETRY_S)
    raise Unavailable(f"{conversation_id} was not stored up to {at_least} after {STORED_TRIES} questions")


async def _newest_seq(client: Client, conversation_id: str) -> int:
    """The newest stored seq; 0 while nothing is: a conversation exists for its readers once it is stored."""
    try:
        page = await client.history(conversation_id, limit=1)
    except ServerRefused as refused:
        if refused.code != Code.NO_SUCH_CONVERSATION:
            raise
        return 0
    return page.messages[0].seq if page.messages else 0


def _p99_ms(counts_us: Counter[int]) -> float:
    return latency_of("", counts_us).p99_ms


def _sleep_until(at_us: int) -> None:
    time.sleep(max(0.0, (at_us - now_us()) / 1e6))
