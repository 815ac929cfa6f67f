"""A share of the load, made by one process."""

from __future__ import annotations

import socket

import pytest

from gateway.client.load.generator import Generator
from gateway.client.load.share import Member, Share
from schemas.errors import Unavailable


async def test_nobody_listening_is_said_in_one_sentence() -> None:
    """All connections are refused at once, and what was not opened is closed without a word."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # taken, and nobody listens
        port = held.getsockname()[1]
        members = [Member("token", "d:alice:bob", 0), Member("token", "d:alice:bob", 1)]
        generator = Generator(Share("127.0.0.1", port, "0123abcd", members))
        with pytest.raises(Unavailable, match=f"no welcome from 127.0.0.1:{port}"):
            await generator.connect()
        await generator.close()
