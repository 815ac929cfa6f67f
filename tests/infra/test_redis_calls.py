"""Commands to Redis are bounded, tried again, and fail as `Unavailable`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from infra.redis_calls import RedisCalls
from infra.redis_scripts import HEADS, run, text_command
from infra.settings import Settings
from schemas.errors import Unavailable

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def calls_to(answer: Answer, timeout_s: float = 5.0) -> AsyncIterator[RedisCalls]:
    """Calls to a server on a free port that treats every connection as told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        calls = RedisCalls(
            Settings(redis=f"redis://127.0.0.1:{port}/0?protocol=2", redis_timeout_s=timeout_s)
        )
        try:
            yield calls
        finally:
            await calls.close()


async def read_command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
    """The next command of ours; what the driver says of itself on connecting is answered on the way."""
    while True:
        count = int((await reader.readuntil(b"\r\n"))[1:])
        parts = []
        for _ in range(count):
            size = int((await reader.readuntil(b"\r\n"))[1:])
            parts.append((await reader.readexactly(size + 2))[:-2])
        if parts[0] != b"CLIENT":
            return parts
        writer.write(b"+OK\r\n")


async def test_nobody_there_is_unavailable() -> None:
    """A refused connection ends as `Unavailable`."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        calls = RedisCalls(Settings(redis=f"redis://127.0.0.1:{unused.getsockname()[1]}/0"))
        with pytest.raises(Unavailable):
            await calls.call([("PING",)])
        await calls.close()


async def test_silence_is_unavailable() -> None:
    """A server that takes commands and never answers is given up."""

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with calls_to(silence, timeout_s=0.02) as calls:
        with pytest.raises(Unavailable):
            await calls.call([("PING",)])


async def test_a_lost_answer_is_asked_for_again() -> None:
    """A connection that breaks before the answer costs one more try, and no error."""
    seen: list[list[bytes]] = []

    async def lose_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_command(reader, writer))
            if len(seen) == 1:
                return
            writer.write(b"+PONG\r\n")

    async with calls_to(lose_first) as calls:
        assert await calls.call([("GET", "k")]) == ["PONG"]
    assert seen == [[b"GET", b"k"]] * 2


async def test_what_must_not_be_repeated_is_not() -> None:
    """With one try, a lost answer is an error at once."""
    seen: list[list[bytes]] = []

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_command(reader, writer))

    async with calls_to(lose) as calls:
        with pytest.raises(Unavailable):
            await calls.call([("GET", "k")], tries=1)
    assert len(seen) == 1


async def test_a_refusal_is_unavailable_and_not_repeated() -> None:
    """A Redis that is full says so; asking again would not help."""
    seen: list[list[bytes]] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_command(reader, writer))
            writer.write(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")

    async with calls_to(refuse) as calls:
        with pytest.raises(Unavailable, match="maxmemory"):
            await calls.call([("SET", "k", "v")])
    assert len(seen) == 1


async def test_an_unknown_script_is_sent_with_its_text() -> None:
    """A Redis that was restarted has forgotten the scripts: only the calls it did not know go again."""
    seen: list[list[bytes]] = []

    async def forgetful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            command = await read_command(reader, writer)
            seen.append(command)
            writer.write(b"-NOSCRIPT No matching script.\r\n" if command[0] == b"EVALSHA" else b"+done\r\n")

    command = run(HEADS, ["head:{1}:é"], [7])
    async with calls_to(forgetful) as calls:
        assert await calls.call([("GET", "k"), command]) == ["done", "done"]
    assert seen[0] == [b"GET", b"k"]
    assert [part.decode() for part in seen[1]] == [str(part) for part in command]
    assert [part.decode() for part in seen[2]] == [str(part) for part in text_command(command)]
    assert len(seen) == 3


async def test_many_commands_go_in_rounds() -> None:
    """Answers come in the order of the commands, however many they are."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, text = await read_command(reader, writer)
            writer.write(b"+%b\r\n" % text)

    async with calls_to(echo) as calls:
        assert await calls.call([("ECHO", i) for i in range(200)]) == [str(i) for i in range(200)]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_call_that_is_closed_under_way_is_unavailable(new_loop: LoopFactory) -> None:
    """At whatever point of it: while it connects, writes, or waits for the answer."""

    async def ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_command(reader, writer)
            writer.write(b"+OK\r\n")

    async def closed_after(turns: int) -> None:
        async with calls_to(ok) as calls:
            call = asyncio.create_task(calls.call([("GET", "k")], tries=1))
            for _ in range(turns):
                await asyncio.sleep(0)
            await calls.close()
            with suppress(Unavailable):
                assert await call == ["OK"]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        for turns in range(40):
            runner.run(closed_after(turns))
