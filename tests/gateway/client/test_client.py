"""The shell around the session: addresses, back-off, queue and tickets."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.address import parse_url
from gateway.client.backoff import RECONNECT
from gateway.client.client import Client
from gateway.client.errors import ClientClosed
from gateway.client.event_queue import EventQueue
from gateway.client.events import Gap
from schemas.errors import BadInput, Unavailable


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080"),
        ("https://chat.example/im/", "wss://chat.example/im"),
        ("ws://127.0.0.1:8080/v1/ws", "ws://127.0.0.1:8080"),
    ],
)
def test_addresses_of_every_form_lead_to_the_socket(url: str, base: str) -> None:
    """A base address and a whole WebSocket address mean the same."""
    address = parse_url(url, "phone", "ios")
    assert address.connect_url("s1") == f"{base}/v1/ws?device_id=phone&platform=ios&session_id=s1"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://[::1"])
def test_other_addresses_are_refused(url: str) -> None:
    """An address that cannot be a gateway's is bad input."""
    with pytest.raises(BadInput):
        parse_url(url, "phone", "ios")


@given(tries=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_back_off_stays_within_its_cap(tries: int, jitter: float) -> None:
    """No wait is negative or longer than 30 s, however often it failed."""
    assert 0 <= RECONNECT.delay_s(tries, lambda: jitter) <= 30


async def test_a_queue_nobody_reads_drops_the_oldest() -> None:
    """A program that only sends is not held up; the newest events are kept."""
    queue = EventQueue(limit=2)
    for seq in range(1, 5):
        await queue.put(Gap("g:x", seq, seq))
    await queue.close()
    assert [await queue.get() for _ in range(3)] == [Gap("g:x", 3, 3), Gap("g:x", 4, 4), None]


async def test_a_queue_that_is_read_makes_the_writer_wait() -> None:
    """Once somebody reads, a full queue holds the writer and loses nothing."""
    queue = EventQueue(limit=1)
    await queue.put(Gap("g:x", 1, 1))
    assert await queue.get() == Gap("g:x", 1, 1)
    await queue.put(Gap("g:x", 2, 2))
    waiting = asyncio.create_task(queue.put(Gap("g:x", 3, 3)))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await queue.get() == Gap("g:x", 2, 2)
    await waiting
    assert await queue.get() == Gap("g:x", 3, 3)


async def test_sends_of_a_client_that_never_connects_fail_when_it_closes() -> None:
    """A ticket that will get no answer says so instead of waiting for ever, and later sends are refused."""
    client = Client("http://127.0.0.1:1", "token", connect_timeout_s=0)
    async with client:
        ticket = await client.send("d:alice:bob", "hi")
        await client.close(drain_s=0)
    with pytest.raises(ClientClosed):
        await ticket.sent()
    with pytest.raises(ClientClosed):
        await client.send("d:alice:bob", "again")


async def test_entering_says_that_nobody_answers() -> None:
    """Without a gateway, entering ends after its timeout with an error that names the address."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        async with Client("http://127.0.0.1:1", "token", connect_timeout_s=0.2):
            pass
