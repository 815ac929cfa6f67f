"""Who a token speaks for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from schemas.codes import Code
from schemas.errors import Refused
from schemas.ids import is_name

__all__ = ["ALGORITHM", "Principal", "TokenVerifier"]

ALGORITHM: Final = "HS256"
"""The only one taken, whatever a token's header says: no `none`, no exchange of key kinds."""
LEEWAY_MS: Final = 30_000
_MAX_TOKEN_BYTES: Final = 4_096
_CACHE_TOKENS: Final = 20_000
_NOBODY: Final[Mapping[str, int]] = {}


class Principal(msgspec.Struct, frozen=True, gc=False):
    """The holder of a verified token."""

    user_id: str
    role: str
    tenant: str
    expires_at_ms: int
    issued_at_ms: int = 0
    """From `iat`, which counts whole seconds; 0 for a token without one."""

    @property
    def is_server(self) -> bool:
        """Whether this is the service itself: not rate-limited, may act for users."""
        return self.role == "server"


class TokenVerifier:
    """Checks signatures once per token: a device that connects again costs a dictionary look-up.

    The cache is bounded, keeps the latest used, and holds nothing past a token's end. `revoked`
    (user → ms) is looked at each time: of these users, tokens made before that moment are refused.
    """

    def __init__(
        self, secret: str, revoked: Mapping[str, int] = _NOBODY, cache_tokens: int = _CACHE_TOKENS
    ) -> None:
        self._key = OctKey.import_key(secret)
        self._revoked = revoked
        self._cache: OrderedDict[str, Principal] = OrderedDict()
        self._cache_tokens = cache_tokens

    def verify(self, token: str, now_ms: int) -> Principal:
        """The principal of this token. Raises `Refused` (BAD_TOKEN) if it is not good now."""
        principal = self._cache.get(token)
        if principal is None:
            principal = self._read(token)
            self._remember(token, principal)
        else:
            self._cache.move_to_end(token)
        if now_ms > principal.expires_at_ms + LEEWAY_MS:
            self._cache.pop(token, None)
            raise Refused(Code.BAD_TOKEN, "the token has expired")
        if principal.issued_at_ms < self._revoked.get(principal.user_id, 0):
            raise Refused(Code.BAD_TOKEN, "the token was revoked")
        return principal

    def _remember(self, token: str, principal: Principal) -> None:
        self._cache[token] = principal
        if len(self._cache) > self._cache_tokens:
            self._cache.popitem(last=False)

    def _read(self, token: str) -> Principal:
        if len(token) > _MAX_TOKEN_BYTES or not token.isascii():
            raise Refused(Code.BAD_TOKEN)
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, RecursionError) as error:
            raise Refused(Code.BAD_TOKEN) from error
        user_id, expires_s = claims.get("sub"), claims.get("exp")
        if not isinstance(user_id, str) or not is_name(user_id):
            raise Refused(Code.BAD_TOKEN, "the token names no user")
        if (
            not isinstance(expires_s, int | float)
            or isinstance(expires_s, bool)
            or not 0 <= expires_s < 2**40
        ):
            raise Refused(Code.BAD_TOKEN, "the token has no end")
        return Principal(
            user_id,
            _text(claims, "role"),
            _text(claims, "tenant"),
            int(expires_s * 1000),
            _issued_at_ms(claims),
        )


def _issued_at_ms(claims: dict[str, object]) -> int:
    issued_s = claims.get("iat")
    if not isinstance(issued_s, int | float) or isinstance(issued_s, bool) or not 0 <= issued_s < 2**40:
        return 0
    return int(issued_s * 1000)


def _text(claims: dict[str, object], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""
