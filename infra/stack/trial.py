"""The trial message of `im run`: alice writes to bob through the real path, with the SDK."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

from infra.stack.addresses import Address
from schemas.errors import SettingsError, Unavailable

__all__ = ["send_trial_message"]

SDK_GROUP: Final = "im.client"
TRIAL_TIMEOUT_S: Final = 30.0
TRIAL_DEVICE: Final = "trial"


class Ticket(Protocol):
    async def sent(self) -> Any: ...


class Client(Protocol):
    """What the trial uses of the SDK, which lives above this package and is found by its entry point."""

    async def send(self, conversation_id: str, content: str) -> Ticket: ...

    def __aiter__(self) -> AsyncIterator[Any]: ...


MakeClient = Callable[..., AbstractAsyncContextManager[Client]]


async def send_trial_message(address: Address, token: Callable[[str], str]) -> None:
    """Send a message from alice to bob, and return when it has reached him.

    Raises `Unavailable` when it does not in time, or whatever the SDK says.
    """
    client, url = _find_sdk(), f"http://{address}"
    text = f"Hello from im run at {time.strftime('%H:%M:%S')}"
    try:
        async with (
            asyncio.timeout(TRIAL_TIMEOUT_S),
            client(url, token("bob"), device_id=TRIAL_DEVICE) as bob,
            client(url, token("alice"), device_id=TRIAL_DEVICE) as alice,
        ):
            ticket = await alice.send("d:alice:bob", text)
            await ticket.sent()
            await _wait_for(text, bob)
    except TimeoutError:
        raise Unavailable(f"the trial message did not reach bob within {TRIAL_TIMEOUT_S:.0f} s") from None


async def _wait_for(text: str, receiver: Client) -> None:
    async for event in receiver:
        if event.name == "message.new" and event.message.content == {"text": text}:
            return


def _find_sdk() -> MakeClient:
    for entry in entry_points(group=SDK_GROUP):
        found: MakeClient = entry.load()
        return found
    raise SettingsError("the package is not installed → make setup")
