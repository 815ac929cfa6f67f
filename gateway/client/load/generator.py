"""One process of the load generator: opens its connections, sends when messages are due, counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from itertools import cycle
from typing import Final

from gateway.client.load.connection import Answers, LoadConnection, now_us
from gateway.client.load.share import Connected, ConversationCount, Outcome, Share, Timing
from gateway.client.load.tails import TailBook
from infra.together import together

__all__ = ["Generator"]

CONNECT_TIMEOUT_S: Final = 60.0
TICK_S: Final = 0.001
SENDS_PER_TURN: Final = 16
"""A generator that is behind still reads after so many sends."""
QUIET_US: Final = 300_000
"""Everything is there and nothing came for so long: done."""
SILENT_US: Final = 5_000_000
"""Something is missing and nothing came for so long: it is lost."""
PING_SHARE: Final = 0.7


class Generator:
    """Makes one `Share`. Call `connect`, then `run`, `hold` or `storm`, then `close`."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._answers = Answers()
        self._book = TailBook(share.run) if share.shared else None
        self._connections: list[LoadConnection] = []
        self._upkeep: asyncio.Task[None] | None = None

    async def connect(self) -> Connected:
        """Open every connection; raises `Unavailable` if one is refused."""
        connected = await self._open([None] * len(self._share.members))
        self._upkeep = asyncio.create_task(self._keep_alive())
        return connected

    async def storm(self) -> Connected:
        """Cut every connection at once, come back at once, each asking for its session."""
        sessions = [connection.session_id for connection in self._connections]
        for connection in self._connections:
            connection.drop()
        return await self._open(sessions)

    async def run(self, timing: Timing) -> Outcome:
        """Send what is due, wait for what is owed, count."""
        self._answers.from_us, self._answers.until_us = timing.from_us, timing.until_us
        for member, connection in zip(self._share.members, self._connections, strict=True):
            if member.sender >= 0:
                connection.speak_in(member.sender, member.conversation_id, self._share.text)
        await self._send(timing)
        await self._settle(timing)
        return self._outcome(timing)

    async def hold(self, seconds: float) -> Outcome:
        """Do nothing but stay; counts connections that were closed."""
        await asyncio.sleep(seconds)
        return Outcome(closed=self._closed())

    async def close(self) -> None:
        """Cut every connection."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            with suppress(asyncio.CancelledError):
                await self._upkeep
        for connection in self._connections:
            connection.drop()

    async def _open(self, sessions: list[str | None]) -> Connected:
        share, slots = self._share, asyncio.Semaphore(self._share.connecting)
        self._connections = [
            LoadConnection(self._answers, share.run, share.base_seq, self._book) for _ in share.members
        ]
        times_us: list[int] = []

        async def open_one(number: int) -> None:
            async with slots:
                began = now_us()
                await self._connections[number].connect(
                    share.host, share.port, share.members[number].token, CONNECT_TIMEOUT_S, sessions[number]
                )
                times_us.append(now_us() - began)

        began = now_us()
        await together(*map(open_one, range(len(share.members))))
        resumed = sum(connection.resumed for connection in self._connections)
        return Connected(len(times_us), (now_us() - began) / 1e6, times_us, resumed)

    async def _send(self, timing: Timing) -> None:
        """The open model: a message is due at its instant, whether or not earlier ones were answered."""
        senders = [c for m, c in zip(self._share.members, self._connections, strict=True) if m.sender >= 0]
        if not senders or not self._share.messages_per_s:
            await asyncio.sleep(max(0.0, (timing.until_us - now_us()) / 1e6))
            return
        gap_us = 1e6 / self._share.messages_per_s
        for number, sender in enumerate(cycle(senders)):
            due_us = timing.start_us + int(number * gap_us)
            if due_us >= timing.until_us:
                return
            if number % SENDS_PER_TURN == 0:
                await asyncio.sleep(0)
            while now_us() < due_us:  # noqa: ASYNC110 it is time that is waited for
                await asyncio.sleep(TICK_S)
            sender.send(due_us)
            if due_us >= timing.from_us:
                self._answers.late_us.append(now_us() - due_us)

    async def _settle(self, timing: Timing) -> None:
        end_us = timing.until_us + int(timing.grace_s * 1e6)
        while (now := now_us()) < end_us:
            quiet_us = now - max(self._answers.last_frame_us, timing.until_us)
            if quiet_us > (QUIET_US if self._complete() else SILENT_US):
                return
            await asyncio.sleep(0.05)

    def _complete(self) -> bool:
        if any(connection.sends.unanswered for connection in self._connections):
            return False
        return not any(count.lost for count in self._counts().values())

    def _counts(self) -> dict[str, ConversationCount]:
        counts: dict[str, ConversationCount] = {}
        for member, connection in zip(self._share.members, self._connections, strict=True):
            seqs = connection.seqs
            one = ConversationCount(seqs.base, seqs.head, 1, seqs.seen)
            counts.setdefault(member.conversation_id, ConversationCount(seqs.base)).add(one)
        return counts

    def _closed(self) -> Counter[int]:
        return Counter(code for c in self._connections if (code := c.close_code) is not None)

    def _outcome(self, timing: Timing) -> Outcome:
        answers, connections = self._answers, self._connections
        outcome = Outcome(
            accepted_us=Counter(answers.accepted_us),
            sent_us=Counter(answers.sent_us),
            delivered_us=Counter(answers.delivered_us),
            late_us=Counter(answers.late_us),
            delivered_in_window=answers.delivered_in_window,
            sends=sum(c.sends.sends for c in connections),
            unanswered=sum(c.sends.unanswered for c in connections),
            repeated=sum(c.sends.repeated + c.seqs.repeated for c in connections),
            reordered=sum(c.sends.reordered + c.seqs.reordered for c in connections),
            rejections=Counter(answers.rejections),
            untimed=answers.untimed,
            closed=self._closed(),
            conversations=self._counts(),
            settled_s=max(0, answers.last_frame_us - timing.until_us) / 1e6,
        )
        if self._book is not None:
            outcome.delivered_us = self._book.latencies_us(timing.from_us, timing.until_us)
            outcome.delivered_in_window = self._book.arrived(timing.from_us, timing.until_us)
        return outcome

    async def _keep_alive(self) -> None:
        """Acknowledge at least once a second, and ping each connection in time, a part of them at a time."""
        turn = 0
        while True:
            await asyncio.sleep(1.0)
            turn += 1
            for connection in self._connections:
                connection.ack()
            for connection in self._due_for_ping(turn):
                connection.ping()

    def _due_for_ping(self, turn: int) -> Iterable[LoadConnection]:
        heartbeat_s = self._connections[0].heartbeat_s if self._connections else 30
        rounds = max(1, int(heartbeat_s * PING_SHARE))
        return self._connections[turn % rounds :: rounds]
