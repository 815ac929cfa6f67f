"""The memory twins as doors, with what operators' tests put into them."""

from __future__ import annotations

from typing import Any

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing, Record
from infra.settings import Settings
from pipeline.batch import Buried
from pipeline.stage import dead_letter
from pipeline.topology import Doors
from schemas.codec import AUDIT, MESSAGE
from schemas.errors import ImError, Undecodable
from schemas.records import Audit, Message
from tests.builders import a_message, a_record

PARTITIONS = 2


class World:
    """Doors over memory: `doors` for what is tested, the twins by name for what is looked at."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(PARTITIONS, self.clock)
        self.routes = MemoryRouteTable(self.clock)
        self.history = MemoryHistory()
        self.settings = Settings(partitions=PARTITIONS, **settings)
        self.doors = Doors(self.settings, self.clock, self.bus, self.routes, self.history)
        self._said: dict[str, int] = {}

    async def say(self, conversation_id: str, count: int = 1, **fields: Any) -> list[Message]:
        """The next messages of a conversation, in im.messages."""
        said = []
        for _ in range(count):
            seq = self._said[conversation_id] = self._said.get(conversation_id, 0) + 1
            partition = self.bus.partition_for(conversation_id)
            offset = (await self.bus.ends("im.messages"))[partition]
            message = a_message(seq, offset, self.clock.now_ms(), conversation_id=conversation_id, **fields)
            value = MESSAGE.encode(message)
            await self.bus.publish([Outgoing("im.messages", partition, value, conversation_id.encode())])
            self.clock.advance(0.001)
            said.append(message)
        return said

    async def bury(
        self, stage: str, value: bytes, offset: int, topic: str = "im.inbound", **fields: Any
    ) -> Record:
        """A letter in im.dlq of a record that stood at this offset."""
        error: ImError = fields.pop("error", Undecodable("cannot be read"))
        record = a_record(value, offset, topic=topic, **fields)
        await self.bus.publish([dead_letter(stage, Buried(record, error), self.clock.now_ms())])
        return record

    def audits(self) -> list[Audit]:
        return [AUDIT.decode(record.value) for record in self.bus.records("im.audit")]
