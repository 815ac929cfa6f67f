"""A conversation in the terminal: lines typed are sent, what happens is printed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final

from gateway.client import events
from gateway.client.client import Client
from gateway.client.transcript import Transcript

__all__ = ["talk"]

SHOWN_BEFORE: Final = 20
LINE_BYTES: Final = 65_536


async def talk(client: Client, conversation_id: str, show: Callable[[str], None]) -> None:
    """`show` the newest messages, then both directions until the input or the client ends."""
    transcript = Transcript(conversation_id)
    transcript.signed_in(client.user_id)
    page = await client.history(conversation_id, limit=SHOWN_BEFORE)
    for message in reversed(page.messages):
        show(transcript.line_of_message(message))
    newest = page.messages[0].seq if page.messages else 0
    showing = asyncio.create_task(_show(client, transcript, newest, show))
    typing = asyncio.create_task(_send_lines(client, conversation_id))
    done, rest = await asyncio.wait((showing, typing), return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()


async def _show(client: Client, transcript: Transcript, newest: int, show: Callable[[str], None]) -> None:
    """Print what happens, and say that it was read: it stands before somebody's eyes."""
    async for event in client:
        message = event.message if isinstance(event, events.MessageNew) else None
        if message is not None and message.seq <= newest:
            continue
        line = transcript.line_of(event)
        if line is not None:
            show(line)
            if message is not None:
                await client.read(message.conversation_id, message.seq)


async def _send_lines(client: Client, conversation_id: str) -> None:
    reader = asyncio.StreamReader(LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if text := line.decode(errors="replace").strip():
            await client.send(conversation_id, text)
