"""P1 and P5 at the door: everything accepted or rejected once and for good, through any restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.ports import Outgoing, Record
from infra.settings import Settings
from pipeline import places
from pipeline.batch import Batch
from pipeline.moderation.agent import Effects, Moderation
from pipeline.moderation.policy import publish_policy
from pipeline.persistence.rows import rows_of
from pipeline.sequencing.agent import Sequencing
from pipeline.tenure import Tenure
from schemas.codec import ACCEPTED, DECISION, INBOUND, MESSAGE, OUTBOUND
from schemas.codes import Code
from schemas.errors import Fenced
from schemas.frames import JSON, Rejected
from schemas.records import Decision, Inbound, Outbound, Policy, Rule
from tests.builders import an_inbound

SETTINGS = Settings(partitions=1)
TEA = '{"action":"created","by":"ann","name":"Tea","members":["bob"]}'


@pytest.fixture(autouse=True)
def _short_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tails are so short that im.places is needed for what lies before them."""
    monkeypatch.setattr(places, "TAIL_RECORDS", 1)
    monkeypatch.setattr(places, "STEP_BACK_RECORDS", 1)


class World:
    """One partition of the whole path from im.inbound to the history, and workers that come and go."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.history = MemoryHistory()
        self.tenure = Tenure(self.clock, SETTINGS.session_timeout_s)
        self.count = 0

    async def ask(self, sender: str = "alice", text: str = "hi", **fields: Any) -> Inbound:
        """A gateway writes a request to im.inbound."""
        self.count += 1
        fields = {"client_msg_id": f"m{self.count}", "received_at_ms": self.clock.now_ms()} | fields
        inbound = an_inbound(text, sender=sender, **fields)
        await self.put(INBOUND.encode(inbound), inbound.conversation_id)
        return inbound

    async def talk(self, lasts_s: int) -> None:
        """Something is said every ten seconds."""
        for _ in range(lasts_s // 10):
            self.clock.advance(10)
            await self.ask("bob", conversation_id="d:bob:cy")

    async def put(self, value: bytes | None, key: str = "d:alice:bob") -> None:
        await self.bus.publish([Outgoing("im.inbound", 0, value, key.encode())])

    async def worker(self, position: int = 0) -> Moderation:
        stage = Moderation(SETTINGS, self.bus, self.history, self.clock)
        await stage.startup()
        await stage.assign(0, position)
        return stage

    async def plan(self, stage: Moderation, start: int = 0, stop: int | None = None) -> tuple[Batch, Effects]:
        records = self.bus.records("im.inbound", 0, start)
        now = self.clock.monotonic()
        self.tenure.prove(now)
        chunk = records[: None if stop is None else stop - start]
        batch = Batch("im.inbound", 0, chunk, now, term=self.tenure.term)
        await stage.load(batch)
        return batch, stage.plan(batch)

    async def run(self, stage: Moderation, start: int = 0, stop: int | None = None) -> Batch:
        batch, effects = await self.plan(stage, start, stop)
        await stage.perform(effects)
        return batch

    async def store(self, count: int | None = None) -> None:
        """Sequencing has numbered everything, persistence has stored the first messages."""
        stage = Sequencing(SETTINGS, self.bus, self.history, self.clock)
        await stage.assign(0, 0)
        for record in self.bus.records("im.accepted"):
            batch = Batch("im.accepted", 0, [record], 0.0)
            await stage.load(batch)
            await stage.perform(stage.plan(batch))
            self.clock.advance(0.5)
        records = self.bus.records("im.messages")[:count]
        await self.history.write([row for r in records for row in rows_of(MESSAGE.decode(r.value))])
        self.bus.commit("im.persistence", "im.messages", 0, len(records))

    def accepted(self) -> dict[int, Inbound]:
        """Offset in im.inbound → what a reader of im.accepted sees: repeats dropped by source offset."""
        seen: dict[int, Inbound] = {}
        for record in self.bus.records("im.accepted"):
            prefix, inbound, _ = ACCEPTED.split(record.value)
            if prefix["source_offset"] > max(seen, default=-1):
                seen[prefix["source_offset"]] = inbound
        return seen

    def decisions(self) -> list[Decision]:
        return [DECISION.decode(record.value) for record in self.bus.records("im.moderation")]

    def answers(self) -> list[tuple[Outbound, Rejected]]:
        found = []
        for record in self.bus.records("im.outbound.gw-1"):
            outbound = OUTBOUND.decode(record.value)
            frame = JSON.parse_server(outbound.body)
            if isinstance(frame, Rejected):
                found.append((outbound, frame))
        return found

    def codes(self) -> list[int]:
        return [frame.code for _, frame in self.answers()]


@pytest.fixture
def world() -> World:
    return World()


# What becomes of a request


async def test_an_accepted_request_is_passed_on_byte_by_byte(world: World) -> None:
    """With its offset in front of it, and a decision beside it."""
    inbound = await world.ask(text="hello")
    await world.run(await world.worker())
    (record,) = world.bus.records("im.accepted")
    assert record.key == b"d:alice:bob"
    assert ACCEPTED.split(record.value) == ({"source_offset": 0}, inbound, INBOUND.encode(inbound)[5:])
    (decision,) = world.decisions()
    assert (decision.verdict, decision.code, decision.source_offset) == ("accept", 0, 0)
    assert world.answers() == []


async def test_a_rejected_request_reaches_only_its_sender(world: World) -> None:
    """A frame to the session that asked, a decision for the record, nothing in im.accepted."""
    await world.ask("sam", session_id="s9")
    await world.run(await world.worker())
    assert world.bus.records("im.accepted") == []
    ((outbound, frame),) = world.answers()
    assert (outbound.users, outbound.session_id, outbound.kind) == (["sam"], "s9", "frame")
    assert (frame.code, frame.name, frame.client_msg_id) == (1103, "no_such_conversation", "m1")
    assert [(d.verdict, d.code) for d in world.decisions()] == [("reject", 1103)]


async def test_a_policy_masks_and_rejects_and_is_named(world: World) -> None:
    """The masked text is what goes on; the crc stays that of what the client sent."""
    rules = [Rule("swear", "abuse", "mask", ["heck"]), Rule("scam", "spam", "reject", ["money"])]
    await publish_policy(world.bus, Policy(4, rules))
    inbound = await world.ask(text="heck!")
    await world.ask(text="money")
    await world.run(await world.worker())
    assert world.accepted() == {0: msgspec.structs.replace(inbound, content='{"text":"••••!"}')}
    assert [(d.verdict, d.rules, d.policy_version) for d in world.decisions()] == [
        ("mask", ["swear"], 4),
        ("reject", ["scam"], 4),
    ]
    ((_, frame),) = world.answers()
    assert (frame.code, "spam" in frame.message) == (1201, True)


async def test_each_request_is_judged_after_all_before_it(world: World) -> None:
    """In one batch: a group is made, its member speaks, is removed, and speaks no more."""
    await world.ask("ann", conversation_id="g:tea", kind="group", content=TEA)
    await world.ask("bob", conversation_id="g:tea")
    gone = '{"action":"removed","by":"ann","users":["bob"]}'
    await world.ask("ann", conversation_id="g:tea", kind="member", content=gone)
    await world.ask("bob", conversation_id="g:tea")
    await world.run(await world.worker())
    assert list(world.accepted()) == [0, 1, 2]
    assert world.codes() == [1101]


async def test_what_cannot_be_read_is_buried_and_the_next_goes_on(world: World) -> None:
    """Junk and forged records are dead letters."""
    await world.put(b"junk")
    await world.put(None)
    await world.put(INBOUND.encode(an_inbound(sender="a b")))
    await world.put(INBOUND.encode(an_inbound()), key="g:other")
    await world.ask()
    batch = await world.run(await world.worker())
    assert [buried.record.offset for buried in batch.buried] == [0, 1, 2, 3]
    assert list(world.accepted()) == [4]


# Repeats


async def test_a_repeat_is_accepted_again_though_its_sender_was_silenced(world: World) -> None:
    """It will get its first answer from sequencing; other content under its id is a conflict."""
    await world.ask("ann", conversation_id="g:tea", kind="group", content=TEA)
    await world.ask("bob", "hi", conversation_id="g:tea", client_msg_id="again")
    gone = '{"action":"removed","by":"ann","users":["bob"]}'
    await world.ask("ann", conversation_id="g:tea", kind="member", content=gone)
    await world.ask("bob", "hi", conversation_id="g:tea", client_msg_id="again")
    await world.ask("bob", "ho", conversation_id="g:tea", client_msg_id="again")
    await world.run(await world.worker())
    assert list(world.accepted()) == [0, 1, 2, 3]
    assert world.codes() == [1202]


async def test_a_repeat_is_known_by_its_place(world: World) -> None:
    """A worker that starts anew, long after the first one was stored, learns of it from im.places alone."""
    await world.ask("ann", conversation_id="g:tea", kind="group", content=TEA)
    await world.ask("bob", "hi", conversation_id="g:tea", client_msg_id="again")
    gone = '{"action":"removed","by":"ann","users":["bob"]}'
    await world.ask("ann", conversation_id="g:tea", kind="member", content=gone)
    for _ in range(3):
        await world.ask("ann", conversation_id="g:tea")
    await world.run(await world.worker())
    await world.store()
    await world.ask("bob", "hi", conversation_id="g:tea", client_msg_id="again")
    await world.ask("bob", "new", conversation_id="g:tea")
    world.bus.expire("im.accepted", 0, 2)
    await world.run(await world.worker(6), 6)
    assert list(world.accepted()) == [2, 3, 4, 5, 6]
    assert world.codes() == [1101]


async def test_a_repeated_event_changes_the_state_once(world: World) -> None:
    """A join that comes again after the leave lets nobody in."""
    await world.ask("ann", conversation_id="g:tea", kind="group", content=TEA)
    join = {"conversation_id": "g:tea", "kind": "member", "client_msg_id": "join"}
    await world.ask("ann", content='{"action":"joined","by":"ann","users":["cy"]}', **join)
    left = '{"action":"left","by":"cy","users":["cy"]}'
    await world.ask("cy", conversation_id="g:tea", kind="member", content=left)
    await world.ask("ann", content='{"action":"joined","by":"ann","users":["cy"]}', **join)
    await world.ask("cy", conversation_id="g:tea")
    await world.run(await world.worker())
    assert list(world.accepted()) == [0, 1, 2, 3]
    assert world.codes() == [1101]
    later = await world.worker(5)
    await world.ask("cy", conversation_id="g:tea")
    await world.run(later, 5)
    assert world.codes() == [1101, 1101]


async def test_an_id_at_the_edge_of_the_window_is_refused_for_now(world: World) -> None:
    """Whether it is a repeat is for the log's times to say; a moment later it is new."""
    stage = await world.worker()
    for pause_s in (0, SETTINGS.dedupe_window_s, 60):
        await world.talk(pause_s)
        await world.ask(client_msg_id="m")
    await world.run(stage)
    assert world.codes() == [1303]
    assert set(range(21)) - world.accepted().keys() == {13}


async def test_a_long_standstill_makes_no_id_new(world: World) -> None:
    """Nor does a clock that is wrong: who asked before it and asks again after it said one thing."""
    stage = await world.worker()
    await world.ask(client_msg_id="m")
    await world.run(stage)
    await world.store()
    for position in (1, 2):
        world.clock.advance(10 * SETTINGS.dedupe_window_s)
        await world.ask("alice", "something else", client_msg_id="m")
        await world.run(stage, position)
        stage = await world.worker(position + 1)
    assert world.codes() == [1202, 1202]


# Recalls and edits


async def test_a_recall_finds_its_message_in_the_history(world: World) -> None:
    """Own messages for two minutes, foreign ones never."""
    stage = await world.worker()
    await world.ask("alice")
    await world.ask("bob")
    await world.run(stage, 0)
    await world.store()
    for seq in (1, 2, 99_999):
        await world.ask("alice", kind="recall", content=f'{{"seq":{seq}}}')
    await world.run(stage, 2)
    assert list(world.accepted()) == [0, 1, 2]
    assert world.codes() == [1102, 1102]


async def test_a_recall_that_a_replaced_worker_accepted_late_is_not_rejected(world: World) -> None:
    """Its effect stands in the history by then: judged again, it would be a recall of what is recalled."""
    slept = await world.worker()
    await world.ask()
    await world.run(slept)
    await world.store()
    await world.ask(kind="recall", content='{"seq":1}')
    _, late = await world.plan(slept, 1)
    owner = await world.worker(1)
    await slept.perform(late)
    await world.store()
    batch = await world.run(owner, 1)
    assert batch.repeats == 1
    assert world.codes() == []
    assert sorted(world.accepted()) == [0, 1]


async def test_a_recall_waits_for_a_message_that_is_not_stored_yet(world: World) -> None:
    """It comes in time, or the recall is refused for now."""
    stage = await world.worker()
    await world.ask("alice")
    await world.run(stage, 0)
    await world.ask("alice", kind="recall", content='{"seq":1}')
    await world.run(stage, 1)
    assert world.codes() == [1303]
    await world.ask("alice", kind="recall", content='{"seq":1}')
    loading = asyncio.create_task(world.plan(stage, 2))
    await asyncio.sleep(0)
    await world.store()
    _, effects = await loading
    await stage.perform(effects)
    assert list(world.accepted()) == [0, 2]


async def test_a_stranger_makes_nobody_wait_and_learns_nothing(world: World) -> None:
    """His recall is refused as if there were no conversation, its message is not even looked for."""
    await world.ask("alice")
    await world.ask("sam", kind="recall", content='{"seq":1}')
    await world.run(await world.worker())
    assert world.codes() == [1103]


# Restarts


async def test_a_paused_worker_writes_nothing(world: World) -> None:
    """Its partition has moved on: the process ends instead."""
    await world.ask()
    stage = await world.worker()
    _, effects = await world.plan(stage)
    world.clock.advance(SETTINGS.session_timeout_s + 1)
    with pytest.raises(Fenced):
        await stage.perform(effects)
    assert world.bus.records("im.accepted") == []


async def test_a_worker_that_is_back_writes_nothing_that_it_decided_before(world: World) -> None:
    """Another may have decided otherwise, though the partition is its own again."""
    await world.ask()
    stage = await world.worker()
    _, effects = await world.plan(stage)
    world.tenure.join(2)
    world.tenure.prove(world.clock.monotonic())
    with pytest.raises(Fenced):
        await stage.perform(effects)
    assert world.bus.records("im.accepted") == []


async def test_a_slow_worker_goes_on_if_its_group_knows_it(world: World) -> None:
    """What takes longer than a session is no pause while heartbeats are answered."""
    await world.ask()
    stage = await world.worker()
    _, effects = await world.plan(stage)
    world.clock.advance(SETTINGS.session_timeout_s + 1)
    world.tenure.prove(world.clock.monotonic() - 1)
    await stage.perform(effects)
    assert list(world.accepted()) == [0]


async def test_effects_may_be_performed_again(world: World) -> None:
    """As the loop does when the log could not answer: readers see everything once."""
    await world.ask()
    await world.ask("sam")
    stage = await world.worker()
    _, effects = await world.plan(stage)
    await stage.perform(effects)
    await stage.perform(effects)
    assert list(world.accepted()) == [0]


async def test_a_rejection_stands_though_the_policy_has_changed(world: World) -> None:
    """Who was told no is told no again after a restart, with the same code."""
    await publish_policy(world.bus, Policy(1, [Rule("scam", "spam", "reject", ["money"])]))
    await world.ask(text="money")
    await world.run(await world.worker())
    await publish_policy(world.bus, Policy(2, []))
    await world.run(await world.worker(0))
    assert world.accepted() == {}
    assert world.codes() == [1201, 1201]


@pytest.mark.parametrize("restarted", [False, True])
async def test_who_repeats_what_was_rejected_hears_the_same(world: World, restarted: bool) -> None:
    """Though it would be accepted by now: it would stand after what its sender has said since."""
    early = await world.ask("alice", conversation_id="g:team")
    stage = await world.worker()
    await world.run(stage)
    created = '{"action":"created","by":"alice","name":"T"}'
    await world.ask("alice", kind="group", content=created, conversation_id="g:team")
    await world.ask("alice", conversation_id="g:team")
    await world.ask("alice", conversation_id="g:team", client_msg_id=early.client_msg_id)
    await world.run(await world.worker(1) if restarted else stage, 1)
    assert list(world.accepted()) == [1, 2]
    assert world.codes() == [1103, 1103]


async def test_what_later_requests_have_overtaken_is_never_accepted(world: World) -> None:
    """If its decision was lost, it is refused for now: readers would drop it without a word."""
    await world.ask(text="first")
    await world.ask(text="second")
    late = Outgoing("im.accepted", 0, ACCEPTED.splice({"source_offset": 1}, _body(world, 1)), b"d:alice:bob")
    await world.bus.publish([late])
    await world.run(await world.worker(0))
    assert list(world.accepted()) == [1]
    assert world.codes() == [1303]


async def test_everything_is_known_again_after_retention_and_a_long_rest(world: World) -> None:
    """Old events come from the history, and an uncommitted chunk is recognised however old it is."""
    await world.ask("ann", conversation_id="g:tea", kind="group", content=TEA)
    await world.run(await world.worker())
    await world.store()
    world.clock.advance(10 * SETTINGS.dedupe_window_s)
    stage = await world.worker(0)
    await world.ask("bob", conversation_id="g:tea")
    await world.run(stage, 0)
    assert list(world.accepted()) == [0, 1]
    world.bus.expire("im.accepted", 0, 2)
    await world.ask("bob", conversation_id="g:tea")
    await world.run(await world.worker(2), 2)
    assert list(world.accepted()) == [2]
    assert world.codes() == []


def _body(world: World, offset: int) -> bytes:
    return INBOUND.split(world.bus.records("im.inbound")[offset].value)[2]


USERS = ("ann", "bob", "cy")
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from(["joined", "removed", "said", "left", "muted", "direct", "block", "created", "junk"]),
        st.sampled_from(USERS),
        st.integers(0, 1),
    ),
    min_size=3,
    max_size=16,
)
"""(sender, what he asks, about whom, and a number: the same again is a repeat of the first)"""
CRASHES = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(1, 6),
        st.none() | st.tuples(st.integers(0, 6), st.integers(0, 6)),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=5,
)
"""How far back the committed offset lies, how many records are read, how many accepted and how many
decided were published before the crash (None: all), and how many messages were stored after it."""
Crash = tuple[int, int, tuple[int, int] | None, int]


async def _ask_all(world: World, requests: Sequence[tuple[str, str, str, int]]) -> None:
    for sender, action, other, number in [("ann", "created", "bob", 0), *requests]:
        fields: dict[str, Any] = {
            "conversation_id": "g:tea",
            "client_msg_id": f"{sender}-{action}-{other}-{number}",
        }
        event: dict[str, Any] = {"action": action, "by": sender}
        if action == "junk":
            await world.put(b"junk")
            continue
        if action in ("said", "direct"):
            fields |= {"content": '{"text":"hi"}'}
            if action == "direct":
                fields |= {"conversation_id": "d:ann:bob"}
        elif action == "created":
            fields |= {"kind": "group", "content": _json({**event, "name": "Tea", "members": [other]})}
        elif action == "block":
            content = {**event, "action": "blocked", "users": ["bob" if sender == "ann" else "ann"]}
            fields |= {"conversation_id": "d:ann:bob", "kind": "member", "content": _json(content)}
        elif action == "muted":
            until_ms = world.clock.now_ms() + 1_000_000
            fields |= {"kind": "member", "content": _json({**event, "users": [other], "until_ms": until_ms})}
        else:
            users = [sender] if action == "left" else [other]
            fields |= {"kind": "member", "content": _json({**event, "users": users})}
        await world.ask(sender, **fields)


def _json(content: dict[str, Any]) -> str:
    return msgspec.json.encode(content).decode()


async def _storm(world: World, crashes: Sequence[Crash]) -> None:
    """Workers that begin at or before where the last one ended, and stop anywhere."""
    total = len(world.bus.records("im.inbound"))
    reached = 0
    for back, length, published, stored in crashes:
        position = max(0, reached - back)
        stage = await world.worker(position)
        stop = min(total, position + length)
        _, effects = await world.plan(stage, position, stop)
        if published is None:
            await stage.perform(effects)
            reached = max(reached, stop)
        else:
            for topic, count in zip(("im.accepted", "im.moderation"), published, strict=True):
                await world.bus.publish([r for r in effects.records if r.topic == topic][:count])
        await world.store(stored)
        world.clock.advance(1)
    stage = await world.worker(reached)
    for start in range(reached, total, 3):
        await world.run(stage, start, min(total, start + 3))


@settings(deadline=None, max_examples=50)
@given(REQUESTS, CRASHES)
@example(
    [("cy", "joined", "bob", 1), ("ann", "joined", "cy", 0), ("cy", "joined", "bob", 1)], [(0, 3, (2, 0), 0)]
)
def test_restarts_at_any_point_give_the_same_accepted_sequence(
    requests: list[tuple[str, str, str, int]], crashes: list[Crash]
) -> None:
    """Whatever was published before a crash, and however far back the next worker begins.

    Unless somebody tries again as he is told: a refusal that was lost with its worker, while what came after
    it was accepted, is told as one for now.
    """
    calm, wild = World(), World()

    async def run() -> None:
        for world in (calm, wild):
            await _ask_all(world, requests)
        await _storm(calm, [])
        await _storm(wild, crashes)

    asyncio.run(run())
    if not _tried_again(wild):
        assert wild.accepted() == calm.accepted()
    _check_outcomes(wild)


@settings(deadline=None, max_examples=50)
@given(REQUESTS, CRASHES, st.lists(st.booleans(), min_size=6, max_size=6))
def test_no_outcome_ever_changes_though_the_policy_does(
    requests: list[tuple[str, str, str, int]],
    crashes: list[Crash],
    strict: list[bool],
) -> None:
    """What was rejected is never accepted, and every request ends as one of the two."""
    world = World()
    plain_worker = world.worker

    async def worker(position: int = 0) -> Moderation:
        rules = [Rule("r", "odd", "reject", ["hi", "tea"])] if strict.pop() else []
        await publish_policy(world.bus, Policy(10 - len(strict), rules))
        return await plain_worker(position)

    world.worker = worker  # type: ignore[method-assign]

    async def run() -> None:
        await _ask_all(world, requests)
        await _storm(world, crashes)

    asyncio.run(run())
    _check_outcomes(world)


def _tried_again(world: World) -> bool:
    """Whether a request that was refused for now came again later."""
    asked = {r.offset: _ask_of(r) for r in world.bus.records("im.inbound") if r.value != b"junk"}
    for_now = {d.source_offset for d in world.decisions() if d.code == Code.UNAVAILABLE}
    return any(asked[first] == ask and first < offset for first in for_now for offset, ask in asked.items())


def _check_outcomes(world: World) -> None:
    accepted = set(world.accepted())
    published = {ACCEPTED.split(r.value)[0]["source_offset"] for r in world.bus.records("im.accepted")}
    rejected = {d.source_offset for d in world.decisions() if d.verdict == "reject"}
    readable = {r.offset for r in world.bus.records("im.inbound") if r.value != b"junk"}
    assert accepted == published, "an accepted request was overtaken and lost"
    assert not accepted & rejected
    assert accepted | rejected == readable
    told = {frame.client_msg_id for _, frame in world.answers()}
    asked = {r.offset: _ask_of(r) for r in world.bus.records("im.inbound") if r.offset in rejected}
    assert told == set(asked.values())


def _ask_of(record: Record) -> str:
    return INBOUND.decode(record.value).client_msg_id
