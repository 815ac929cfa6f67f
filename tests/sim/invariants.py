"""What must hold when a seed has ended: the promises of the README, checked against the log itself.

The truth is im.messages, read as every stage reads it: what does not rise is a repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.client import events
from schemas.codec import ACCEPTED, DECISION, MESSAGE
from schemas.conversation import ConversationState, fold
from schemas.records import Message
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import DEAD_LETTERS, INBOUND, MESSAGES, MODERATION
from tests.sim.doors import at_once

if TYPE_CHECKING:
    from tests.sim.clients import Device
    from tests.sim.world import World

__all__ = ["Truth", "find_unfinished", "find_violations"]


class Truth:
    """Every conversation in its order, and who was inside when."""

    def __init__(self, world: World) -> None:
        self.messages: dict[str, list[Message]] = {}
        for partition in range(world.settings.partitions):
            newest = -1
            for record in world.log.records(MESSAGES, partition):
                message = MESSAGE.decode(record.value)
                if message.source_offset > newest:
                    newest = message.source_offset
                    self.messages.setdefault(message.conversation_id, []).append(message)
        self.states: dict[str, ConversationState] = {
            c: fold(c, [(m.seq, m.kind, m.content) for m in messages])
            for c, messages in self.messages.items()
        }
        self.placed: dict[tuple[str, str], list[Message]] = {}
        for messages in self.messages.values():
            for message in messages:
                self.placed.setdefault((message.sender, message.client_msg_id), []).append(message)

    def visible(self, user: str, conversation_id: str) -> list[int]:
        """The seqs this user is to see."""
        member = self.states[conversation_id].members.get(user)
        return [m.seq for m in self.messages[conversation_id] if member is not None and member.saw(m.seq)]

    def left_before(self, user: str, conversation_id: str, time_ms: int) -> bool:
        """Whether this user was in this conversation, and left it for good before this time."""
        member = self.states[conversation_id].members.get(user)
        left = member.left if member is not None else 0
        return left > 0 and self.messages[conversation_id][left - 1].sent_at_ms < time_ms


def find_unfinished(world: World) -> list[str]:
    """What has not come to its end yet; nothing, when everybody has everything."""
    waiting = [f"{d.device_id} waits for answers" for d in world.devices if len(d.session._outbox)]
    waiting += [f"{d.device_id} is not connected" for d in world.devices if not d.session.connected]
    if waiting or not world.caught_up():
        return waiting or ["a stage has not read to its end"]
    truth = Truth(world)
    return [
        f"{device.device_id} lacks {sorted(missing)} of {conversation_id}"
        for device in world.devices
        for conversation_id in truth.messages
        if (missing := _missing(device, truth, conversation_id))
    ]


def _missing(device: Device, truth: Truth, conversation_id: str) -> set[int]:
    """What was to come out and did not. An application that begins with nothing asks for the conversations
    its user is in; what he had left before belongs to none of them, whatever an earlier life had seen."""
    if truth.left_before(device.user, conversation_id, device.listed_ms):
        return set()
    shown = {seq for life in device.shown.get(conversation_id, ()) for seq in life}
    return set(truth.visible(device.user, conversation_id)) - shown


def find_violations(world: World) -> list[str]:
    """Every promise that was broken, with its first witness."""
    truth = Truth(world)
    found = [*_order(truth), *_history(world, truth), *_inputs(world), *_dead_letters(world)]
    found += _cursors(world)
    for device in world.devices:
        found += [f"{device.device_id}: {fault}" for fault in device.faults]
        found += _ends(device, truth)
        found += _views(device, truth)
    return found


def _order(truth: Truth) -> Iterator[str]:
    """Each conversation counts 1, 2, 3 … and holds each send once."""
    for conversation_id, messages in truth.messages.items():
        seqs = [m.seq for m in messages]
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"{conversation_id} counts {seqs}"
    for (sender, client_msg_id), messages in truth.placed.items():
        if len(messages) > 1:
            yield f"{sender}'s {client_msg_id} has the places {[m.seq for m in messages]}"


def _history(world: World, truth: Truth) -> Iterator[str]:
    """The history is the log: each message once, and a recalled one without its content."""
    for conversation_id, messages in truth.messages.items():
        rows = at_once(world.store.page(conversation_id, after_seq=0, limit=10_000))
        if [(r.seq, r.message_id) for r in rows] != [(m.seq, m.message_id) for m in messages]:
            yield f"the history of {conversation_id} holds {[r.seq for r in rows]} of {len(messages)}"
        yield from (
            f"{conversation_id} {r.seq} was recalled and is there"
            for r in rows
            if r.recalled and r.content != "{}"
        )


def _inputs(world: World) -> Iterator[str]:
    """Every request was accepted or rejected, and none was both."""
    for partition in range(world.settings.partitions):
        accepted, rejected = set(), set()
        newest = -1
        for record in world.log.records(ACCEPTED_TOPIC, partition):
            offset = ACCEPTED.split(record.value)[0]["source_offset"]
            if offset > newest:
                newest = offset
                accepted.add(offset)
        for record in world.log.records(MODERATION, partition):
            decision = DECISION.decode(record.value)
            if decision.verdict == "reject":
                rejected.add(decision.source_offset)
        asked = set(range(world.log.end(INBOUND, partition)))
        if lost := asked - accepted - rejected:
            yield f"requests {sorted(lost)} of partition {partition} have no answer"
        if both := accepted & rejected:
            yield f"requests {sorted(both)} of partition {partition} were accepted and rejected"


def _cursors(world: World) -> Iterator[str]:
    """No cursor stands beyond what was delivered to its user, or read by him."""
    for user in sorted({device.user for device in world.devices}):
        theirs = [device for device in world.devices if device.user == user]
        for conversation_id, cursor in at_once(world.store.cursors(user)).items():
            got = max((s for d in theirs for c, s in d.received if c == conversation_id), default=0)
            got = max([got, *(s for d in theirs for s in _placed(d, conversation_id))])
            read = max(device.read_up_to.get(conversation_id, 0) for device in theirs)
            if cursor.delivered_seq > max(got, read) or cursor.read_seq > read:
                yield f"{user} got {got} and read {read} of {conversation_id}: {cursor}"


def _placed(device: Device, conversation_id: str) -> Iterator[int]:
    """The places of what it sent."""
    for key in device.submitted.get(conversation_id, ()):
        yield from device.places.get(key, ())


def _dead_letters(world: World) -> Iterator[str]:
    for record in world.log.records(DEAD_LETTERS):
        yield f"a dead letter: {dict(record.headers).get('__streams.errors.message')!r}"


def _ends(device: Device, truth: Truth) -> Iterator[str]:
    """Each send ends once, as sent in its place or as rejected and nowhere, in the order of sending."""
    for conversation_id, keys in device.submitted.items():
        places = []
        for key in keys:
            ends = device.ends.get(key, [])
            placed = truth.placed.get((device.user, key), [])
            if len(ends) != 1:
                yield f"{key} ended {len(ends)} times: {ends}"
                continue
            seqs = {m.seq for m in placed}
            told = device.places.get(key, set())
            if isinstance(ends[0], events.MessageSent):
                told = told | {ends[0].seq}
                places.append(ends[0].seq)
            elif placed:
                yield f"{key} was rejected ({ends[0].code}) and stands at {seqs}"
            if not told <= seqs:
                yield f"{key} stands at {seqs} and its sender was told {told}"
        if places != sorted(places):
            yield f"{device.device_id} sent to {conversation_id} in order and got {places}"


def _views(device: Device, truth: Truth) -> Iterator[str]:
    """What came out is what this user is to see, once a life and in order; nothing else came in."""
    for conversation_id in truth.messages:
        visible = set(truth.visible(device.user, conversation_id))
        for life in device.shown.get(conversation_id, ()):
            if life != sorted(set(life)):
                yield f"{device.device_id} saw {conversation_id} as {life}"
            if not set(life) <= visible:
                yield f"{device.device_id} was shown {sorted(set(life) - visible)} of {conversation_id}"
    for conversation_id, seq in device.received:
        if conversation_id not in truth.messages or seq not in truth.visible(device.user, conversation_id):
            yield f"{device.device_id} received {seq} of {conversation_id}, which is not for {device.user}"
