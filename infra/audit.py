"""What operators do, on im.audit: said before it takes effect, and again with how it ended."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from infra.clock import Clock
from infra.ports import Bus, Outgoing
from schemas.codec import AUDIT
from schemas.errors import ImError
from schemas.ids import new_message_id
from schemas.records import Audit
from schemas.topics import AUDIT as AUDIT_TOPIC

__all__ = ["audited", "operator_name"]


@asynccontextmanager
async def audited(
    bus: Bus, clock: Clock, actor: str, action: str, target: str, details: Mapping[str, object]
) -> AsyncIterator[dict[str, object]]:
    """Around an operator's action: `begun` is in the log before the block runs.

    The block fills the dictionary it is given; that goes with `done`. An `ImError` that leaves the
    block goes with `failed`, and on. Raises `Unavailable` if the log does not take the first record:
    then nothing was done.
    """
    action_id = new_message_id()

    async def say(state: str, said: Mapping[str, object]) -> None:
        text = msgspec.json.encode(said).decode()
        record = msgspec.convert(
            {
                "action_id": action_id,
                "actor": actor,
                "action": action,
                "target": target,
                "state": state,
                "details": text,
                "at_ms": clock.now_ms(),
            },
            Audit,
        )
        await bus.publish([Outgoing(AUDIT_TOPIC, 0, AUDIT.encode(record), actor.encode())])

    await say("begun", details)
    outcome: dict[str, object] = {}
    try:
        yield outcome
    except ImError as error:
        await say("failed", {**outcome, "error": str(error)})
        raise
    await say("done", outcome)


def operator_name() -> str:
    """Who runs this command."""
    return getpass.getuser()
