"""Tokens that somebody made up: none of them opens a gateway, whichever way it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from gateway.auth import TokenVerifier
from infra.clock import ManualClock
from infra.settings import Settings
from infra.token_keys import Algorithm, TokenKeys
from schemas.codes import Code
from schemas.errors import Refused
from tests.gateway.forgeries import forgeries
from tests.gateway.issuer import AUDIENCE, ISSUER, NOW_S, SECRET, Issuer
from tests.gateway.world import World, a_world

ALGORITHMS: tuple[Algorithm, ...] = ("HS256", "RS256", "EdDSA")
CORPUS = sorted(set.intersection(*(set(forgeries(Issuer(algorithm))) for algorithm in ALGORITHMS)))
SOURCES: tuple[tuple[Algorithm, bool], ...] = (
    ("HS256", False),
    ("RS256", False),
    ("RS256", True),
    ("EdDSA", False),
    ("EdDSA", True),
)
"""Each algorithm with a secret or one key, and with a key set."""
NOW_MS = NOW_S * 1_000


@cache
def corpus(algorithm: Algorithm) -> dict[str, str]:
    return forgeries(Issuer(algorithm))


def settings_for(us: Issuer, folder: Path, as_set: bool) -> dict[str, Any]:
    """The settings of a gateway that takes the tokens of this issuer."""
    values: dict[str, Any] = {
        "auth_algorithm": us.algorithm,
        "auth_audience": AUDIENCE,
        "auth_issuer": ISSUER,
        "auth_secret": SecretStr(SECRET),
        "limits": "off",
    }
    if us.algorithm == "HS256":
        return values
    if as_set:
        path = folder / "jwks.json"
        path.write_text(json.dumps({"keys": [us.public_jwk]}))
        return values | {"auth_jwks": str(path)}
    path = folder / "public.pem"
    path.write_bytes(us.public_pem)
    return values | {"auth_public_key": path}


@pytest.fixture(scope="module")
def verifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Algorithm, bool], TokenVerifier]:
    """One for each source of keys, for all tests: what is forged leaves nothing behind in it."""
    return {
        source: asyncio.run(verifier_for(Issuer(source[0]), tmp_path_factory.mktemp("keys"), source[1]))
        for source in SOURCES
    }


async def verifier_for(us: Issuer, folder: Path, as_set: bool) -> TokenVerifier:
    keys = TokenKeys(Settings(**settings_for(us, folder, as_set)), ManualClock())
    await keys.startup()
    return TokenVerifier(keys, audience=AUDIENCE, issuer=ISSUER)


@pytest.mark.parametrize(("algorithm", "as_set"), SOURCES)
async def test_the_tokens_of_the_issuer_are_good(algorithm: Algorithm, as_set: bool, tmp_path: Path) -> None:
    """The corpus would prove nothing if these were refused; an audience may be one of several."""
    us = Issuer(algorithm)
    verifier = await verifier_for(us, tmp_path, as_set)
    nameless = {} if as_set else {"kid": "any"}
    for token in (
        us.token(),
        us.token(nameless),
        us.token({"kid": ...}),
        us.token(claims=us.claims(aud=["another", AUDIENCE])),
        us.token(claims=us.claims(nbf=NOW_S)),
    ):
        assert verifier.verify(token, NOW_MS).user_id == "alice"


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_a_forged_token_is_refused(
    source: tuple[Algorithm, bool], name: str, verifiers: dict[tuple[Algorithm, bool], TokenVerifier]
) -> None:
    """Always by 1401, never by another error, with the keys in a file and in a set."""
    with pytest.raises(Refused) as refused:
        verifiers[source].verify(corpus(source[0])[name], NOW_MS)
    assert refused.value.code is Code.BAD_TOKEN


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    """At least forty kinds for every algorithm, and more that concern only some."""
    assert len(CORPUS) >= 100
    assert all(len(corpus(algorithm)) > len(CORPUS) for algorithm in ALGORITHMS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_no_forged_token_opens_a_socket(algorithm: Algorithm, tmp_path: Path) -> None:
    """401 before any upgrade: by header, subprotocol and query, and over HTTP; and no log repeats a token."""
    async with a_world(**settings_for(Issuer(algorithm), tmp_path, as_set=True)) as world:
        us = Issuer(algorithm, now_s=world.clock.now_ms() // 1_000)
        good = us.token()
        assert [await answer(world, *way) for way in ways(good)] == [101, 101, 101, 200]
        with capture_logs() as logs:
            for name, token in corpus(algorithm).items():
                answers = [await answer(world, *way) for way in ways(token)]
                assert set(answers) == {401}, name
        told = repr(logs)
        assert not [name for name, token in corpus(algorithm).items() if len(token) > 20 and token in told]


def ways(token: str) -> Iterator[tuple[str, list[str]]]:
    """The ways in as (path, header lines). What no header can carry goes into the query only."""
    upgrade = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    yield f"/v1/ws?token={quote(token)}", upgrade
    if token.isascii() and token.isprintable():
        yield "/v1/ws", [*upgrade, f"Authorization: Bearer {token}"]
        if token and all(c.isalnum() or c in "._-" for c in token):
            yield "/v1/ws", [*upgrade, f"Sec-WebSocket-Protocol: im.v1.json, bearer.{token}"]
        yield "/v1/gateways", [f"Authorization: Bearer {token}"]


async def answer(world: World, path: str, lines: list[str]) -> int:
    """The status of one request on a socket of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    try:
        head = [f"GET {path} HTTP/1.1", "Host: localhost", *lines, "", ""]
        writer.write("\r\n".join(head).encode())
        async with asyncio.timeout(5):
            return int((await reader.readline()).split()[1])
    finally:
        writer.close()
