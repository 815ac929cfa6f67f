"""Who signs tokens, and who would like to: JWTs put together by hand, to be wrong in any way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from infra.token_keys import Algorithm

__all__ = ["AUDIENCE", "ISSUER", "NOW_S", "SECRET", "Issuer", "b64", "hs"]

SECRET = "a-secret-that-is-long-enough-for-hs256"
NOW_S = 1_700_000_000
AUDIENCE = "skein-tests"
ISSUER = "https://login.example"

Sign = Callable[[bytes], bytes]
Json = Mapping[str, Any] | list[Any] | str | int | None


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hs(secret: bytes, digest: str = "sha256") -> Sign:
    return lambda data: hmac.new(secret, data, getattr(hashlib, digest)).digest()


class Issuer:
    """Holds the private half of an algorithm's key, and makes tokens with any header and any claims."""

    def __init__(self, algorithm: Algorithm, kid: str = "k1", now_s: int = NOW_S) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.now_s = now_s
        self._rsa, self._ed = _keys(algorithm, kid)

    def sign(self, data: bytes) -> bytes:
        if self.algorithm == "HS256":
            return hs(SECRET.encode())(data)
        if self.algorithm == "RS256":
            return self._rsa.sign(data, PKCS1v15(), SHA256())
        return self._ed.sign(data)

    def claims(self, **changes: Any) -> dict[str, Any]:
        usual = {"sub": "alice", "iat": self.now_s, "exp": self.now_s + 600, "aud": AUDIENCE, "iss": ISSUER}
        return {name: value for name, value in (usual | changes).items() if value is not ...}

    def token(self, header: Json = None, claims: Json = None, sign: Sign | None = None) -> str:
        """A good token, but for what is given. As a whole header or claims, anything JSON can say."""
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid}
        if isinstance(header, Mapping):
            given: Json = {k: v for k, v in (head | dict(header)).items() if v is not ...}
        else:
            given = head if header is None else header
        body = self.claims() if claims is None else claims
        return self.raw(json.dumps(given).encode(), json.dumps(body).encode(), sign)

    def raw(self, header: bytes, body: bytes, sign: Sign | None = None) -> str:
        signed = f"{b64(header)}.{b64(body)}"
        return f"{signed}.{b64((sign or self.sign)(signed.encode()))}"

    @property
    def public_pem(self) -> bytes:
        return self._public_bytes(Encoding.PEM)

    @property
    def public_der(self) -> bytes:
        return self._public_bytes(Encoding.DER)

    @property
    def public_jwk(self) -> dict[str, str]:
        names = {"kid": self.kid, "use": "sig"}
        if self.algorithm == "EdDSA":
            raw = self._ed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), **names}
        numbers = self._rsa.public_key().public_numbers()
        size = self._rsa.key_size // 8
        return {
            "kty": "RSA",
            "n": b64(numbers.n.to_bytes(size, "big")),
            "e": b64(numbers.e.to_bytes(3, "big")),
            **names,
        }

    def _public_bytes(self, encoding: Encoding) -> bytes:
        key = self._ed.public_key() if self.algorithm == "EdDSA" else self._rsa.public_key()
        return key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


@cache
def _keys(algorithm: Algorithm, kid: str) -> tuple[RSAPrivateKey, Ed25519PrivateKey]:
    """A pair of keys for each name: the same one each time it is asked for."""
    return generate_private_key(65_537, 2_048), Ed25519PrivateKey.generate()
