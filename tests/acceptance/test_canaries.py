"""What must never be written to a log: texts, tokens and secrets, looked for in everything that was."""

from __future__ import annotations

import time
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.tokens import mint_token
from schemas.ids import new_name
from tests.acceptance.stranger import Stranger
from tests.acceptance.test_end_to_end import direct, fresh
from tests.conftest import TEST_SECRET, Running

pytestmark = pytest.mark.acceptance

CANARY = "canary-7f3a91"
OTHER_SECRET = "somebody-elses-secret-that-is-long-enough"


async def traffic(system: Running) -> None:
    """Messages of every fate: delivered, edited, refused for their rights, their form and their size."""
    alice, bob = fresh("alice"), fresh("bob")
    talk, device = direct(alice, bob), f"{CANARY}-device"
    async with Stranger.on(system, alice, device) as writer, Stranger.on(system, bob, device) as reader:
        assert (await writer.send(talk, f"{CANARY} hello"))["seq"] == 1
        assert CANARY in (await reader.hears(talk, 1))["content"]["text"]
        await writer.stored(talk, 1)
        edited = await writer.change("edit", talk, 1, content={"text": f"{CANARY} edited"})
        assert edited["type"] == "sent"
        assert (await writer.send("g:nowhere", f"{CANARY} to nobody"))["type"] == "rejected"
        await writer.say(CANARY, id=0)
        await writer.sees(type="error")
        await writer.say_raw(f'{{"type":"send","content":"{CANARY}')
        await writer.sees(type="error")
        assert (await writer.send(talk, CANARY * 5_000))["type"] == "rejected"
        await writer.say_raw(f"{CANARY}".encode() + b"\xff")


async def strangers(system: Running, tokens: list[str]) -> None:
    """Bad tokens on every way in, and a socket that breaks the protocol."""
    for token in tokens:
        for query, shown in ((f"?token={token}", {}), ("", {"Authorization": f"Bearer {token}"})):
            with pytest.raises((InvalidStatus, ConnectionClosed)):
                await connect(system.ws_url + query, additional_headers=shown, proxy=None)
        url, headers = f"{system.url}/v1/conversations?token={token}", {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
            assert answer.status == 401
    body: dict[str, object] = {"client_msg_id": new_name(), "kind": "text", "content": {"text": CANARY}}
    headers = {"Authorization": f"Bearer {system.token('carl')}"}
    url, body["conversation_id"] = f"{system.url}/v1/messages", "g:nowhere"
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        assert answer.status == 404


async def test_no_log_holds_what_people_say_or_who_they_are(system: Running) -> None:
    """Texts, good and bad tokens, and the secret: nowhere in the logs of gateway, workers and engines."""
    now_s = int(time.time())
    forged = [mint_token(OTHER_SECRET, f"{CANARY}-user", now_s=now_s), f"{CANARY}.{CANARY}.{CANARY}"]
    good = system.token("alice")
    await traffic(system)
    await strangers(system, forged)
    system.restart("gw-1")
    system.wait_ready("gw-1")
    logs = list(Path(system.settings.data_dir / "log").glob("*.log*"))
    assert {"gw-1.log", "worker-1.log", "worker-2.log", "kafka.log"} <= {path.name for path in logs}
    told = {path.name: path.read_text(errors="replace") for path in logs}
    for secret in (CANARY, TEST_SECRET, *forged, good, good.rpartition(".")[2]):
        assert [name for name, text in told.items() if secret in text] == [], secret[:20]


def test_no_command_line_holds_a_secret(system: Running) -> None:
    """What anybody on the machine may read of a process."""
    for name in ("gw-1", "worker-1", "worker-2", "kafka", "redis", "cassandra"):
        assert TEST_SECRET not in Path(f"/proc/{system.pid(name)}/cmdline").read_text(errors="replace")
