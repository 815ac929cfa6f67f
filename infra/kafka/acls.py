"""Who may do what in the log: the least that a gateway and a worker need, as Kafka's own ACLs.

A gateway that is taken over can put requests into the log and read what is meant for it; it reads no
conversation, and nothing that it writes gets past the judgement of the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from infra.kafka.clients import connection, door
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import AUDIT, INBOUND, PRESENCE, RECEIPTS, REVOCATIONS, outbound_topic

__all__ = ["Grant", "ensure_grants", "gateway_grants", "worker_grants"]

_RESOURCES: Final = {"topic": 2, "group": 3, "cluster": 4}
_OPERATIONS: Final = {"read": 3, "write": 4, "create": 5, "describe": 8}
_LITERAL, _PREFIX, _ALLOW = 3, 4, 3
_OURS: Final = "im."


@dataclass(frozen=True, slots=True)
class Grant:
    """Something that a user of Kafka may do, from any host. Whatever is not granted is refused."""

    user: str
    resource: str
    name: str
    operation: str
    prefixed: bool = False


def gateway_grants(user: str, gateway_id: str) -> list[Grant]:
    """Write requests, receipts and notes to gateways; read its own topic and what was revoked."""
    own = outbound_topic(gateway_id).name
    notes = outbound_topic("").name
    written = (INBOUND, RECEIPTS, PRESENCE, REVOCATIONS, AUDIT)
    return [
        *(Grant(user, "topic", topic, "write") for topic in written),
        Grant(user, "topic", notes, "write", prefixed=True),
        Grant(user, "topic", own, "create"),
        *(Grant(user, "topic", topic, "read") for topic in (own, REVOCATIONS)),
        Grant(user, "topic", _OURS, "describe", prefixed=True),
    ]


def worker_grants(user: str) -> list[Grant]:
    """Read and write every topic of ours, in groups of ours."""
    return [
        *(Grant(user, "topic", _OURS, operation, prefixed=True) for operation in ("read", "write", "create")),
        Grant(user, "group", _OURS, "read", prefixed=True),
    ]


async def ensure_grants(settings: Settings, grants: Sequence[Grant]) -> None:
    """Give these, as the user of the settings; again changes nothing. Raises `Unavailable`."""
    async with door("give rights"):
        admin = AIOKafkaAdminClient(**connection(settings))
        await admin.start()
        try:
            for grant in grants:
                answer = await admin._send_request(CreateAclsRequest(*_creation(grant)))
                for code, text in answer.creation_responses:
                    if code:
                        raise Unavailable(f"Kafka refuses to give {grant}: {text or code}")
        finally:
            await admin.close()


def _creation(grant: Grant) -> tuple[int, str, int, str, str, int, int]:
    pattern = _PREFIX if grant.prefixed else _LITERAL
    principal, operation = f"User:{grant.user}", _OPERATIONS[grant.operation]
    return _RESOURCES[grant.resource], grant.name, pattern, principal, "*", operation, _ALLOW
