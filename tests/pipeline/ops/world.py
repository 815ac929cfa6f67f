"""A path for tests: writes what the stages would write, record by record, so that one can be left out."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing, Route
from infra.settings import Settings
from pipeline.batch import Buried
from pipeline.persistence.rows import rows_of
from pipeline.stage import dead_letter
from pipeline.topology import group_of
from schemas.codec import ACCEPTED, DECISION, INBOUND, MESSAGE, OUTBOUND
from schemas.conversation import GroupEvent
from schemas.errors import Undecodable
from schemas.ids import new_message_id
from schemas.records import Decision, Inbound, Message, Outbound, Receipt
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import INBOUND as INBOUND_TOPIC
from schemas.topics import MESSAGES, MODERATION, outbound_topic
from tests.builders import an_inbound

__all__ = ["SETTINGS", "World"]

SETTINGS = Settings(partitions=1)


class World:
    """One partition over the memory twins. Each step is durable on its own; `commit` says all are handled."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.history = MemoryHistory()
        self.routes = MemoryRouteTable(self.clock)
        self._seqs: dict[str, int] = defaultdict(int)
        self._uses = 0

    # Step by step

    async def ask(self, text: str = "hi", **fields: Any) -> tuple[Inbound, int]:
        """A request in im.inbound: it, and its offset."""
        self._uses += 1
        made = {"message_id": self.new_id(), "client_msg_id": f"m{self._uses}"}
        inbound = an_inbound(text, **(made | fields))
        return inbound, await self._put(INBOUND_TOPIC, INBOUND.encode(inbound), inbound.conversation_id)

    async def decide(self, inbound: Inbound, source: int, code: int = 0) -> int:
        """Moderation's decision; the offset of the Accepted, -1 if it was rejected."""
        accepted = -1
        if not code:
            body = INBOUND.split(INBOUND.encode(inbound))[2]
            value = ACCEPTED.splice({"source_offset": source}, body)
            accepted = await self._put(ACCEPTED_TOPIC, value, inbound.conversation_id)
        decision = Decision(
            source,
            inbound.conversation_id,
            inbound.message_id,
            inbound.sender,
            inbound.client_msg_id,
            "reject" if code else "accept",
            code,
            [],
            1,
        )
        await self._put(MODERATION, DECISION.encode(decision), inbound.conversation_id)
        return accepted

    async def place(self, inbound: Inbound, source: int) -> Message:
        """The Message of an Accepted."""
        self._seqs[inbound.conversation_id] += 1
        seq = self._seqs[inbound.conversation_id]
        message = Message(seq, source, self.clock.now_ms(), **msgspec.structs.asdict(inbound))
        await self._put(MESSAGES, MESSAGE.encode(message), inbound.conversation_id)
        return message

    async def skip_seq(self, conversation_id: str) -> None:
        """A seq that no message gets."""
        self._seqs[conversation_id] += 1

    async def store(self, message: Message) -> None:
        await self.history.write(rows_of(message))

    async def send_out(self, message: Message, users: list[str], gateway_id: str = "gw-1") -> None:
        """The fan-out record for one gateway."""
        outbound = Outbound(
            kind="message",
            body=MESSAGE.encode(message),
            users=users,
            source_partition=0,
            source_offset=message.source_offset,
        )
        await self._put(outbound_topic(gateway_id).name, OUTBOUND.encode(outbound), "")

    async def bury(self, topic: str, offset: int) -> None:
        """A record that its stage could not understand."""
        record = self.bus.records(topic, 0, offset)[0]
        letter = dead_letter("a stage", Buried(record, Undecodable("no record")), self.clock.now_ms())
        await self.bus.publish([letter])

    # The whole way

    async def say(self, text: str = "hi", **fields: Any) -> Message:
        """A message that goes all the way into the history."""
        inbound, source = await self.ask(text, **fields)
        message = await self.place(inbound, await self.decide(inbound, source))
        await self.store(message)
        self.clock.advance(0.01)
        return message

    async def group(self, conversation_id: str, owner: str, members: list[str]) -> Message:
        """A group with these members: its creation is seq 1."""
        event = GroupEvent(action="created", by=owner, name="tea", members=members)
        content = msgspec.json.encode(event).decode()
        return await self.say(conversation_id=conversation_id, kind="group", sender=owner, content=content)

    async def ack(self, user_id: str, message: Message) -> None:
        """The stored cursor of a user."""
        receipt = Receipt(message.conversation_id, user_id, message.seq, -1, "s", self.clock.now_ms())
        await self.history.move_cursors([receipt])

    async def connect(self, user_id: str, gateway_id: str = "gw-1") -> None:
        await self.routes.take_lease(gateway_id, "boot-1", 1e6)
        route = Route("phone", gateway_id, "boot-1", f"s-{user_id}", "web", self.clock.now_ms())
        await self.routes.attach([(user_id, route)])

    def commit(self) -> None:
        """Every stage has handled everything."""
        for stage, topic in (
            ("moderation", INBOUND_TOPIC),
            ("sequencing", ACCEPTED_TOPIC),
            ("persistence", MESSAGES),
        ):
            self.bus.commit(group_of(stage), topic, 0, len(self.bus.records(topic)))

    def new_id(self) -> str:
        """A message id that was made at this world's time."""
        time = f"{self.clock.now_ms():012x}"
        return f"{time[:8]}-{time[8:]}{new_message_id()[13:]}"

    async def _put(self, topic: str, value: bytes, key: str) -> int:
        await self.bus.publish([Outgoing(topic, 0, value, key.encode())])
        return len(self.bus.records(topic)) - 1
