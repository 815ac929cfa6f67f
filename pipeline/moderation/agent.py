"""im.inbound → im.accepted and im.moderation: the stage that decides what may enter a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from prometheus_client import Counter

from infra.clock import Clock
from infra.ports import Bus, HistoryStore, Outgoing, Record
from infra.settings import Settings
from infra.telemetry.trace_context import Headers
from infra.together import look_up
from pipeline.batch import Batch
from pipeline.dedupe import key_of
from pipeline.moderation.ledger import Ledger
from pipeline.moderation.policy import PolicyFollower
from pipeline.moderation.recovery import recover
from pipeline.moderation.request import Request, read_request
from pipeline.moderation.rights import Target
from pipeline.moderation.rules import Verdict, judge, judge_repeat, reject
from pipeline.outcomes import rejected_answer
from pipeline.states import ANY_POSITION, ConversationStates
from pipeline.tenure import Term
from schemas.codec import ACCEPTED, DECISION, INBOUND
from schemas.codes import Code
from schemas.conversation import GroupEvent, MemberEvent
from schemas.errors import BadInput, ImError, Undecodable
from schemas.records import Decision
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import MODERATION

__all__ = ["Effects", "Moderation"]

_VERDICTS = Counter("im_moderation_verdicts_total", "Decisions about requests.", ["verdict"])

_TARGET_TRIES: Final = 4
_TARGET_PAUSE_S: Final = 0.05
"""A recall may come before its message is stored (some 20 ms): it waits for 0.15 s at most, then it is
refused for now, because its whole partition waits with it."""
_TARGET_REACH: Final = 10_000
"""A seq this far beyond what is stored was never given out."""

Place = tuple[str, int]


@dataclass(slots=True)
class Effects:
    """What a batch comes to: decisions and accepted requests for the log, then answers to senders."""

    term: Term | None
    trace: Mapping[int, Headers]
    records: list[Outgoing] = field(default_factory=list)
    answers: list[Outgoing] = field(default_factory=list)


@dataclass(slots=True)
class _Partition:
    ledger: Ledger
    states: ConversationStates
    accepted_end: int
    """Where im.accepted ends, as far as this worker knows: what lies beyond was written by another."""
    batch: Batch | None = None
    requests: list[Request | ImError] = field(default_factory=list)
    targets: dict[Place, Target] = field(default_factory=dict)


class Moderation:
    """`pipeline.batch.Stage`: judges every request with the state after all accepted ones before it.

    What the log says is decided for good. After a restart, accepted requests are passed over, rejected
    ones are rejected again, and one that later ones have overtaken is never accepted.
    """

    name = "moderation"

    def __init__(self, settings: Settings, bus: Bus, history: HistoryStore, clock: Clock) -> None:
        self._window_ms = settings.dedupe_window_s * 1000
        self._bus = bus
        self._history = history
        self._clock = clock
        self._policy = PolicyFollower(bus)
        self._partitions: dict[int, _Partition] = {}
        self._verdicts = {verdict: _VERDICTS.labels(verdict) for verdict in ("accept", "mask", "reject")}

    async def startup(self) -> None:
        await self._policy.startup()

    async def assign(self, partition: int, position: int) -> None:
        now_ms, end = self._clock.now_ms(), await self._accepted_end(partition)
        found = await recover(self._bus, self._history, partition, position, self._window_ms, now_ms)
        self._partitions[partition] = _Partition(*found, accepted_end=end)

    def revoke(self, partition: int) -> None:
        self._partitions.pop(partition, None)

    async def load(self, batch: Batch) -> None:
        here = self._partitions[batch.partition]
        if here.batch is not batch:
            here.batch = batch
            here.requests = [_read(record) for record in batch.records]
        requests = [request for request in here.requests if isinstance(request, Request)]
        await here.states.load({r.inbound.conversation_id: ANY_POSITION for r in requests})
        wanted = {
            (request.inbound.conversation_id, request.target_seq)
            for request in requests
            if request.target_seq is not None
            and here.states[request.inbound.conversation_id].is_member(request.inbound.sender)
        }
        here.targets = await self._targets(wanted)
        if wanted and await self._accepted_end(batch.partition) != here.accepted_end:
            await self.assign(batch.partition, batch.records[0].offset)
            await self.load(batch)

    async def _accepted_end(self, partition: int) -> int:
        """Asked after targets were read: a worker that we replaced may have accepted a recall just now, and a
        target that is recalled already would have the same recall rejected. What is stored is in the log.
        """
        return (await self._bus.ends(ACCEPTED_TOPIC)).get(partition, 0)

    async def _targets(self, wanted: set[Place]) -> dict[Place, Target]:
        """What recalls and edits point at; waits a moment for what may be on its way to the history."""
        found: dict[Place, Target] = {}
        for attempt in range(_TARGET_TRIES):
            waiting = {place for place in wanted if found.get(place, "not_yet") == "not_yet"}
            if not waiting:
                break
            if attempt:
                await asyncio.sleep(_TARGET_PAUSE_S)
            found.update(await look_up(sorted(waiting), self._target))
        return found

    async def _target(self, place: Place) -> Target:
        conversation_id, seq = place
        rows = await self._history.page(conversation_id, before_seq=seq + 1, limit=1)
        newest = rows[0].seq if rows else 0
        if newest == seq:
            return rows[0]
        return "not_yet" if seq - newest <= _TARGET_REACH else "missing"

    def plan(self, batch: Batch) -> Effects:
        here = self._partitions[batch.partition]
        effects = Effects(batch.term, batch.trace)
        for record, request in zip(batch.records, here.requests, strict=True):
            if here.ledger.is_done(record.offset):
                batch.repeats += 1
            elif isinstance(request, ImError):
                batch.bury(record, request)
            else:
                self._decide(here, record, request, effects)
            here.ledger.handled(record.offset)
        here.batch = None
        return effects

    def _decide(self, here: _Partition, record: Record, request: Request, effects: Effects) -> None:
        inbound = request.inbound
        beside = effects.trace.get(record.offset, ())
        verdict = self._judge(here, record, request)
        self._verdicts[verdict.verdict].inc()
        if verdict.verdict == "reject":
            effects.answers.append(
                rejected_answer(inbound, verdict.code or Code.MODERATED, verdict.message, beside)
            )
        else:
            body = request.body
            if verdict.content is not None:
                masked = msgspec.structs.replace(inbound, content=verdict.content)
                body = INBOUND.split(INBOUND.encode(masked))[2]
            value = ACCEPTED.splice({"source_offset": record.offset}, body)
            effects.records.append(Outgoing(ACCEPTED_TOPIC, record.partition, value, record.key, beside))
        decision = _decision(record, request, verdict, self._policy.words.policy.version)
        effects.records.append(Outgoing(MODERATION, record.partition, DECISION.encode(decision), record.key))

    def _judge(self, here: _Partition, record: Record, request: Request) -> Verdict:
        """The verdict, and what follows from it for the requests after this one."""
        inbound, offset, time_ms = request.inbound, record.offset, record.timestamp_ms
        state = here.states[inbound.conversation_id]
        rejected = here.ledger.rejection(offset) or here.ledger.refusal(inbound, time_ms)
        if rejected is not None:
            return reject(rejected)
        standing = here.ledger.standing(inbound, time_ms)
        if standing == "repeat":
            verdict = judge_repeat(request, self._policy.words)
        elif standing == "conflict":
            verdict = reject(Code.DUPLICATE_CONFLICT)
        elif standing == "unsure":
            verdict = reject(Code.UNAVAILABLE)
        else:
            place = (inbound.conversation_id, request.target_seq or 0)
            verdict = judge(state, request, self._policy.words, here.targets.get(place, "missing"))
        if verdict.verdict == "reject":
            if standing == "new":
                here.ledger.refuse(key_of(inbound), verdict.code or Code.MODERATED, time_ms)
            return verdict
        if here.ledger.is_passed(offset):
            return reject(Code.UNAVAILABLE)
        if standing == "new":
            here.ledger.remember(inbound, time_ms)
            if isinstance(request.content, GroupEvent | MemberEvent):
                state.apply(request.content, state.position + 1)
                here.states.changed(inbound.conversation_id)
        return verdict

    async def perform(self, effects: Effects) -> None:
        if effects.term is not None:
            effects.term.check()
        await self._bus.publish(effects.records)
        for record in effects.records:
            if record.topic == ACCEPTED_TOPIC and record.partition in self._partitions:
                self._partitions[record.partition].accepted_end += 1
        await self._bus.publish(effects.answers)


def _read(record: Record) -> Request | ImError:
    try:
        return read_request(record)
    except (Undecodable, BadInput) as error:
        return error


def _decision(record: Record, request: Request, verdict: Verdict, policy_version: int) -> Decision:
    inbound = request.inbound
    return Decision(
        source_offset=record.offset,
        conversation_id=inbound.conversation_id,
        message_id=inbound.message_id,
        sender=inbound.sender,
        client_msg_id=inbound.client_msg_id,
        verdict=verdict.verdict,
        code=int(verdict.code or 0),
        rules=list(verdict.rules),
        policy_version=policy_version,
    )
