"""Bugs to plant: each breaks one rule that the promises stand on, and the simulation must see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from gateway.ack_window import AckWindow
from gateway.client.timeline import Timeline
from gateway.downlink import Downlink
from gateway.uplink import Uplink
from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing
from pipeline.dedupe import Dedupe
from pipeline.fanout import agent as fanout
from pipeline.moderation.agent import Effects, Moderation
from pipeline.sequencing.agent import Sequencing
from schemas.codec import DECISION
from schemas.codes import Code
from schemas.errors import Fenced, Refused, Unavailable
from schemas.topics import MODERATION
from tests.sim.faults import Event
from tests.sim.world import Outcome, play

__all__ = ["PLANTED", "first_seed_that_sees"]

Plant = Callable[[], "_Replaced"]
_Replaced = list[tuple[Any, str, Any]]


def first_seed_that_sees(bug: str, first: int, count: int) -> int | None:
    """The first seed at which a promise is broken with this bug in; None: none of these sees it."""
    with _planted(PLANTED[bug]()):
        for seed in range(first, first + count):
            early = bug == "commit before the effect"
            outcome: Outcome = play(seed, commits_early=early, only=_ONLY.get(bug, ()))
            if outcome.violations:
                return seed
    return None


@contextmanager
def _planted(replaced: _Replaced) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, bug in replaced:
        setattr(owner, name, bug)
    try:
        yield
    finally:
        for owner, name, right in before:
            setattr(owner, name, right)


def _commit_early() -> _Replaced:
    """The offset is committed when the chunk is handed out."""
    return []


def _no_dedupe() -> _Replaced:
    """Nobody remembers a client_msg_id."""
    return [(Dedupe, "seen", lambda _self, _key: None)]


def _no_second_look() -> _Replaced:
    """Sequencing starts without the tail of what is there."""

    async def forgets(_self: object, _partition: int, _state: object, _places: object, _start: int) -> int:
        return 0

    return [(Sequencing, "_recall", forgets)]


def _token_too_high() -> _Replaced:
    """A sync token is as late as the clock, whatever the stages have handled."""

    async def now(self: Any, _stages: object, _partitions: int) -> int:
        return int(self._clock.now_ms())

    return [(MemoryRouteTable, "watermark", now)]


def _window_drops_one() -> _Replaced:
    """Of what is unacknowledged, the first delivery is not sent again."""
    right = AckWindow.unacked
    return [(AckWindow, "unacked", lambda self: right(self)[1:])]


def _zombie_decides() -> _Replaced:
    """A worker that was stopped and replaced goes on, and rejects everything: it has lost its state."""
    right = Moderation.perform

    async def perform(self: Any, effects: Any) -> None:
        try:
            effects.term.check()
        except Fenced:
            decisions = [record for record in effects.records if record.topic == MODERATION]
            effects = Effects(None, {}, [_rejecting(record) for record in decisions])
        await right(self, effects)

    return [(Moderation, "perform", perform)]


def _rejecting(record: Outgoing) -> Outgoing:
    decision = msgspec.structs.replace(DECISION.decode(record.value), verdict="reject")
    return msgspec.structs.replace(record, value=DECISION.encode(decision))


def _accepted_too_early() -> _Replaced:
    """`accepted` is said whether the log took it or not."""
    right = Uplink._publish

    async def publish(self: Any, records: Any) -> Any:
        await right(self, records)

    return [(Uplink, "_publish", publish)]


def _stale_members() -> _Replaced:
    """Who ever was in a group goes on being addressed."""
    agent: Any = fanout
    right = agent.plan_fanout

    def plan(routing: Any, value: Any, partition: Any, state: Any, event: Any, threshold: Any) -> Any:
        planned = right(routing, value, partition, state, event, threshold)
        return msgspec.structs.replace(planned, users=[*state.members])

    return [(fanout, "plan_fanout", plan)]


def _repeats_delivered() -> _Replaced:
    """A gateway hands out what it has handed out, and a client shows it."""

    def add(self: Any, message: Any) -> None:
        self._held[message.seq] = message
        self.level = min(self.level, message.seq - 1) if self.level is not None else None

    return [(Downlink, "_is_new", lambda _self, _outbound: True), (Timeline, "add", add)]


def _delivery_skipped() -> _Replaced:
    """A batch's fan-out loses its last message."""
    right = fanout.Fanout.perform

    async def perform(self: Any, effects: Any) -> None:
        await right(self, effects[:-1] if len(effects) > 2 else effects)

    return [(fanout.Fanout, "perform", perform)]


def _unsure_is_refused() -> _Replaced:
    """A send whose outcome is unknown is refused as if it were not in the log."""

    async def publish(self: Any, records: Any) -> Any:
        try:
            await self._bus.publish(records)
        except Unavailable:
            return Refused(Code.MODERATED)
        return None

    return [(Uplink, "_publish", publish)]


PLANTED: Final[dict[str, Plant]] = {
    "commit before the effect": _commit_early,
    "no dedupe": _no_dedupe,
    "no look at what is there": _no_second_look,
    "a token too high": _token_too_high,
    "an ack window that drops one": _window_drops_one,
    "accepted too early": _accepted_too_early,
    "stale members": _stale_members,
    "repeats delivered": _repeats_delivered,
    "a delivery skipped": _delivery_skipped,
    "unknown taken for refused": _unsure_is_refused,
    "a zombie that decides": _zombie_decides,
}
_ONLY: Final[dict[str, tuple[Event, ...]]] = {"a zombie that decides": ("pause worker",)}
"""Bugs that need one fault, and are too rare to be seen soon among all the others: only that one happens."""
