"""The keys that tokens are checked with: a secret, a public key, or a set of them that changes (JWKS).

Which kind of key and which algorithm is a setting. Nothing in a token has a say in it: a `kid` only
chooses among the keys that are there, and is no path, no address and no query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey, OKPKey, RSAKey

from infra.clock import Clock
from infra.settings import Settings
from schemas.errors import SettingsError, Unavailable

__all__ = ["Algorithm", "KeyRing", "TokenKeys", "read_key_set", "read_public_key"]

log = structlog.get_logger(__name__)

Algorithm = Literal["HS256", "RS256", "EdDSA"]
AnyKey = OctKey | RSAKey | OKPKey

MIN_RSA_BITS: Final = 2_048
MAX_KEY_SET_BYTES: Final = 262_144
_FETCH_TIMEOUT_S: Final = 5.0
_KEY_TYPES: Final = {"RS256": "RSA", "EdDSA": "OKP"}


class KeyRing:
    """Keys of one algorithm. Never changes. Pure."""

    def __init__(self, algorithm: Algorithm, keys: Mapping[str | None, AnyKey]) -> None:
        self.algorithm: Algorithm = algorithm
        self._keys = dict(keys)

    @classmethod
    def secret(cls, secret: str) -> KeyRing:
        """The one key of HS256; a token's `kid` does not matter."""
        return cls("HS256", {None: OctKey.import_key(secret)})

    def find(self, kid: object) -> AnyKey | None:
        """The key of that name. A token that names none gets the only key there is, if there is only one."""
        if None in self._keys:
            return self._keys[None]
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid) if isinstance(kid, str) else None

    def names(self) -> frozenset[str]:
        """What tells one state of the keys from another: their thumbprints, by name."""
        return frozenset(f"{kid}:{key.thumbprint()}" for kid, key in self._keys.items())


def read_public_key(text: str, algorithm: Algorithm) -> KeyRing:
    """A ring of one PEM or JWK. Raises `SettingsError` if it is no public key of this algorithm."""
    kind = RSAKey if algorithm == "RS256" else OKPKey
    try:
        given = msgspec.json.decode(text, type=dict[str, Any]) if text.lstrip().startswith("{") else text
        key = kind.import_key(given)
    except (JoseError, ValueError, TypeError, msgspec.DecodeError) as error:
        raise SettingsError(f"IM_AUTH_PUBLIC_KEY: no public key of {algorithm}: {error}") from error
    if not _is_fit(key):
        raise SettingsError(f"IM_AUTH_PUBLIC_KEY: {algorithm} takes public keys of {_WANTED[algorithm]}")
    return KeyRing(algorithm, {None: key})


def read_key_set(data: bytes, algorithm: Algorithm) -> KeyRing:
    """The keys of a JWKS that fit the algorithm; the others are for somebody else.

    A key without a `kid`, for encryption, for another algorithm or too weak is passed over. Raises
    `ValueError` if none is left, or if the data are no key set.
    """
    kind = _KEY_TYPES[algorithm]
    entries = msgspec.convert(msgspec.json.decode(data), _KeySet).keys
    signing = [
        entry
        for entry in entries
        if entry.get("kty") == kind
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", algorithm) == algorithm
        and isinstance(entry.get("kid"), str)
    ]
    keys: dict[str | None, AnyKey] = {}
    for entry in signing:
        try:
            (key,) = KeySet.import_key_set({"keys": [entry]}).keys
        except (JoseError, ValueError, TypeError) as error:
            log.warning("a key of the set cannot be read", kid=entry["kid"], error=str(error))
            continue
        if isinstance(key, RSAKey | OKPKey) and _is_fit(key):
            keys[entry["kid"]] = key
    if not keys:
        raise ValueError(f"no key of the set is for {algorithm} (public, named by a kid)")
    return KeyRing(algorithm, keys)


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


_WANTED: Final = {"RS256": f"RSA with at least {MIN_RSA_BITS} bits", "EdDSA": "Ed25519"}


def _is_fit(key: RSAKey | OKPKey) -> bool:
    """A key that may check signatures here: no private half on a gateway, no weak RSA, no other curve."""
    if key.is_private:
        return False
    if isinstance(key, RSAKey):
        return key.public_key.key_size >= MIN_RSA_BITS
    return key.curve_name == "Ed25519"


class TokenKeys:
    """The ring in force. A set of keys is read again at an interval, and when a token names an unknown one.

    Unknown names lead to one reading in `auth_jwks_pause_s`, whoever asks. A reading that fails leaves
    the keys as they are.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Raises `SettingsError` when the settings name no key, or more than one source of them."""
        self._clock = clock
        self._source = settings.auth_jwks
        self._every_s = settings.auth_jwks_refresh_s
        self._pause_s = settings.auth_jwks_pause_s
        self._reading = asyncio.Lock()
        self._read_at = -settings.auth_jwks_pause_s
        self._algorithm = settings.auth_algorithm
        self.ring = _first_ring(settings)

    async def startup(self) -> None:
        """Read the set, if there is one. Raises `Unavailable`: without keys nobody could come in."""
        if self._source and not await self._read():
            raise Unavailable("the keys of tokens cannot be read: IM_AUTH_JWKS")

    async def run(self) -> None:
        """Read the set at its interval, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            if self._source:
                async with self._reading:
                    await self._read()

    async def look_again(self) -> None:
        """Read the set now, unless it was read a moment ago. Who comes meanwhile waits for that reading."""
        if not self._source:
            return
        async with self._reading:
            if self._clock.monotonic() - self._read_at >= self._pause_s:
                await self._read()

    async def _read(self) -> bool:
        self._read_at = self._clock.monotonic()
        try:
            ring = read_key_set(await _fetched(self._source), self._algorithm)
        except (OSError, TimeoutError, ValueError, msgspec.DecodeError, aiohttp.ClientError) as error:
            log.warning("keys of tokens not read", error=repr(error))
            return False
        if ring.names() != self.ring.names():
            self.ring = ring
            log.info("keys of tokens changed", keys=len(ring.names()))
        return True


def _first_ring(settings: Settings) -> KeyRing:
    algorithm = settings.auth_algorithm
    if algorithm == "HS256":
        if settings.auth_public_key is not None or settings.auth_jwks:
            raise SettingsError("IM_AUTH_ALGORITHM: HS256 takes IM_AUTH_SECRET and no public keys")
        if settings.auth_secret is None:
            raise SettingsError("IM_AUTH_SECRET: not set; tokens cannot be checked")
        return KeyRing.secret(settings.auth_secret.get_secret_value())
    if (settings.auth_public_key is None) == (not settings.auth_jwks):
        raise SettingsError(
            f"IM_AUTH_ALGORITHM: {algorithm} needs IM_AUTH_PUBLIC_KEY or IM_AUTH_JWKS, and not both"
        )
    if settings.auth_public_key is None:
        return KeyRing(algorithm, {})
    try:
        return read_public_key(settings.auth_public_key.read_text(), algorithm)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"IM_AUTH_PUBLIC_KEY: {error}") from error


async def _fetched(source: str) -> bytes:
    """The bytes of a file or an address, at most `MAX_KEY_SET_BYTES`. Redirects are not followed."""
    if not urlsplit(source).scheme:
        with Path(source).open("rb") as stream:  # noqa: ASYNC230 - a local file of some kilobytes
            data = stream.read(MAX_KEY_SET_BYTES + 1)
    else:
        timeout = aiohttp.ClientTimeout(total=_FETCH_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(source, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise ValueError(f"the address answers {answer.status}")
            data = await _bounded(answer.content)
    if len(data) > MAX_KEY_SET_BYTES:
        raise ValueError(f"a key set has at most {MAX_KEY_SET_BYTES} bytes")
    return data


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    data = bytearray()
    async for chunk in stream.iter_chunked(65_536):
        data += chunk
        if len(data) > MAX_KEY_SET_BYTES:
            break
    return bytes(data)
