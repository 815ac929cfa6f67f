"""Which gateway to connect to: one of those that have room, chosen by weight."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Final

import msgspec

from gateway.client.address import Address
from gateway.client.link import LinkEnd
from schemas.codes import CloseCode
from schemas.errors import BadInput

__all__ = ["Dispatcher", "Offer", "pick"]

_ASK_S: Final = 5.0
_MAX_BYTES: Final = 1_048_576
_NO_CONNECTION: Final = 0
_LEAVE: Final = frozenset({_NO_CONNECTION, 503, int(CloseCode.DRAIN), int(CloseCode.FULL)})


class Offer(msgspec.Struct, frozen=True):
    """A gateway in the answer of `/v1/gateways`."""

    url: str
    weight: int


class _Answer(msgspec.Struct, frozen=True):
    gateways: list[Offer]


def pick(offers: Sequence[Offer], left: str | None, jitter: float) -> Offer | None:
    """One of them, with the chance of its weight; not the one that was just left, unless it is the only one.

    `jitter` is a number in [0, 1).
    """
    others = [offer for offer in offers if offer.weight > 0 and offer.url != left]
    chosen = others or [offer for offer in offers if offer.weight > 0]
    place = jitter * sum(offer.weight for offer in chosen)
    for offer in chosen:
        place -= offer.weight
        if place < 0:
            return offer
    return chosen[-1] if chosen else None


class Dispatcher:
    """Stays with a gateway as long as a cut session may be resumed there; then asks for another.

    It asks `home`, any gateway or whatever balances over them; when that does not answer, the last answer
    is used, and without one `home` itself.
    """

    def __init__(self, home: Address, region: str, jitter: Callable[[], float]) -> None:
        self._home = home
        self._region = region
        self._jitter = jitter
        self._offers: list[Offer] = []
        self._now: Offer | None = None
        self._left: str | None = None

    async def address(self, token: str) -> Address:
        """Where to connect now."""
        if self._now is None:
            self._offers = await asyncio.to_thread(self._ask, token) or self._offers
            self._now = pick(self._offers, self._left, self._jitter())
        return self._home if self._now is None else self._home.elsewhere(self._now.url)

    def ended(self, end: LinkEnd) -> None:
        """The connection ended, or none came about: look for another gateway if this one wants no more."""
        if end.code in _LEAVE:
            self._left = self._now.url if self._now is not None else None
            self._now = None

    def _ask(self, token: str) -> list[Offer]:
        """The offers; none when there is no answer that can be read."""
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked with the address
            self._home.http_url("/v1/gateways", region=self._region),
            headers={"Authorization": f"Bearer {token}"},
        )
        proxies = urllib.request.ProxyHandler({} if self._home.loopback else None)
        try:
            with urllib.request.build_opener(proxies).open(request, timeout=_ASK_S) as answer:
                offers = msgspec.json.decode(answer.read(_MAX_BYTES), type=_Answer).gateways
            for offer in offers:
                self._home.elsewhere(offer.url)
            return offers
        except (OSError, HTTPException, msgspec.DecodeError, BadInput):
            return []
