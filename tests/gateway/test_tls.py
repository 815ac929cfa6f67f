"""gateway/tls.py: the port over TLS, with certificates of a test authority."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from gateway.tls import Certificate
from schemas.errors import SettingsError
from tests.authority import Authority
from tests.gateway.world import Person, World, a_world


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def world(authority: Authority) -> AsyncIterator[World]:
    certificate, key = authority.pem("gateway")
    async with a_world(tls_cert=certificate, tls_key=key) as world:
        yield world


def trusting(authority: Authority, **changes: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def name_on(socket: ClientConnection) -> str:
    """Whose certificate this connection was opened with."""
    certificate = socket.transport.get_extra_info("ssl_object").getpeercert()
    return str(dict(field for names in certificate["subject"] for field in names)["commonName"])


async def dial(world: World, context: ssl.SSLContext, user: str = "alice") -> ClientConnection:
    url = f"wss://localhost:{world.gateway.port}/v1/ws"
    headers = {"Authorization": f"Bearer {world.token(user)}"}
    socket = await connect(url, ssl=context, additional_headers=headers, proxy=None)
    await Person(socket).expect("welcome")
    return socket


async def test_sockets_and_http_go_over_tls(world: World, authority: Authority) -> None:
    """A message from socket to socket, and a large answer over HTTP on the same port."""
    context = trusting(authority)
    alice, bob = Person(await dial(world, context)), Person(await dial(world, context, "bob"))
    await alice.say("d:alice:bob", "x" * 10_000, "m1")
    assert len((await bob.expect("deliver"))["messages"][0]["content"]["text"]) == 10_000
    url = f"https://localhost:{world.gateway.port}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url, ssl=context) as answer:
        assert answer.status == 200
        assert len(await answer.text()) > 1_000
    for person in (alice, bob):
        await person.socket.close()


async def test_nothing_older_than_1_2_is_spoken(world: World, authority: Authority) -> None:
    """1.2 and 1.3 are; a client that knows only 1.1 gets no connection."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(authority, minimum_version=version, maximum_version=version)
        await (await dial(world, context)).close()
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old = trusting(
            authority, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1
        )
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        await dial(world, old)


async def test_who_speaks_plainly_or_trusts_somebody_else_gets_nothing(world: World, tmp_path: Path) -> None:
    """No answer in the clear, and a client that checks certificates notices a foreign one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in await reader.read()
    writer.close()
    (tmp_path / "other").mkdir()
    with pytest.raises(ssl.SSLCertVerificationError):
        await dial(world, trusting(Authority(tmp_path / "other")))


async def test_a_replaced_certificate_is_for_new_connections(world: World, authority: Authority) -> None:
    """Those that are open go on; files that do not fit each other change nothing."""
    context = trusting(authority)
    served = world.gateway._certificate
    assert served is not None
    assert world.settings.tls_cert is not None
    assert world.settings.tls_key is not None
    old = await dial(world, context)
    new_certificate, new_key = authority.pem("renewed")
    shutil.copyfile(new_certificate, world.settings.tls_cert)
    served.look_again()
    between = await dial(world, context, "bob")
    shutil.copyfile(new_key, world.settings.tls_key)
    served.look_again()
    new = await dial(world, context, "carol")
    assert [name_on(socket) for socket in (old, between, new)] == ["gateway", "gateway", "renewed"]
    for socket in (old, between, new):
        person = Person(socket)
        await person.tell(type="ping")
        await person.until("pong")
        await socket.close()


def test_files_that_cannot_be_used_stop_a_gateway_before_it_starts(authority: Authority) -> None:
    """Missing, mismatched, no certificate at all, or a key that others may read."""
    certificate, key = authority.pem("one")
    other_certificate, _ = authority.pem("two")
    for pair in ((certificate, Path("/nowhere")), (other_certificate, key), (key, certificate)):
        with pytest.raises(SettingsError):
            Certificate(*pair)
    key.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        Certificate(certificate, key)
    with pytest.raises(SettingsError, match="go together"):
        World(tls_cert=certificate)
