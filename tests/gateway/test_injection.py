"""Ids that would like to be something else, and JSON that would like to be too much."""

from __future__ import annotations

import json
from urllib.parse import quote

import aiohttp
import pytest

from tests.gateway.world import World

BAD = ("a\r\nSET x 1", "a:b:c", "a'; DROP TABLE messages; --", "a\0b", "🙂", "../../etc/passwd",
       "a b", "", "*", "a" * 65, "а", "{a}", "%0d%0a", "\u202ea", "${jndi:x}")  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=ascii)
async def test_an_id_is_a_name_and_nothing_else(world: World, bad: str) -> None:
    """In frames, in paths and in queries; nothing is kept under it, and the connection goes on."""
    alice = await world.enter("alice")
    for conversation_id in (f"g:{bad}", f"d:alice:{bad}", f"{bad}:x", bad):
        await alice.tell(type="history", id=1, conversation_id=conversation_id)
        assert (await alice.expect("error"))["code"] in (1001, 1103), conversation_id
    await alice.tell(type="group.create", id=2, name="x", members=[bad])
    assert (await alice.expect("error"))["code"] == 1001
    await alice.tell(type="ping", id=3)
    await alice.expect("pong")
    headers = {"Authorization": f"Bearer {world.token('ops', role='server')}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for path in (
            f"/v1/conversations/g:{quote(bad, safe='')}/messages",
            f"/v1/users/{quote(bad, safe='')}/presence",
        ):
            async with http.get(world.http(path)) as answer:
                assert answer.status in (400, 404), path
    assert not [key for key in world.path.states if bad and bad in key]


@pytest.mark.parametrize(
    "content",
    ["[" * 2_000 + "]" * 2_000, '{"a":' * 2_000 + "1" + "}" * 2_000, "1" * 5_000, "NaN", "Infinity", "-0",
     '"\\ud800"', "1e999"],
    ids=range(8),
)  # fmt: skip
async def test_strange_json_is_refused_or_carried(world: World, content: str) -> None:
    """Never a fault: whatever the answer, the next frame is answered, too."""
    alice = await world.enter("alice")
    head = '{"type":"send","client_msg_id":"m1","conversation_id":"d:alice:bob","kind":"custom","content":'
    await alice.socket.send(head + '{"x":' + content + "}}")
    answer = await alice.next()
    assert answer["type"] in ("rejected", "error", "accepted")
    if answer["type"] == "accepted":
        await alice.until("sent")
        json.dumps(answer)
    await alice.tell(type="ping", id=3)
    await alice.until("pong")
    assert world.gateway.metrics.unexpected._value.get() == 0
