"""gateway/client/dispatch.py"""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest
from aiohttp import web

from gateway.client.address import parse_url
from gateway.client.dispatch import Dispatcher, Offer, pick
from gateway.client.link import LinkEnd

A, B, C = Offer("ws://a/v1/ws", 1), Offer("ws://b/v1/ws", 3), Offer("ws://c/v1/ws", 0)


def test_gateways_are_picked_by_weight() -> None:
    """Three times the weight, three times the clients; weight 0 gets none."""
    jitter = Random(7).random
    picked = [pick([A, B, C], None, jitter()) for _ in range(4_000)]
    assert {offer.url for offer in picked if offer} == {A.url, B.url}
    assert 0.7 < picked.count(B) / len(picked) < 0.8


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_the_one_that_was_left_is_taken_only_alone(jitter: float) -> None:
    """A drained gateway may still stand in an answer that is a second old."""
    assert pick([A, B], B.url, jitter) is A
    assert pick([B, C], B.url, jitter) is B
    assert pick([C], None, jitter) is None
    assert pick([], None, jitter) is None


class Home:
    """A gateway that answers `/v1/gateways`."""

    def __init__(self) -> None:
        self.answer: bytes = b'{"gateways":[{"url":"ws://a/v1/ws","weight":1,"region":""}]}'
        self.asked: list[tuple[str, str | None]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((str(request.rel_url), request.headers.get("Authorization")))
        return web.Response(body=self.answer)


@pytest.fixture
async def home() -> AsyncIterator[tuple[Home, str]]:
    place = Home()
    app = web.Application()
    app.router.add_get("/v1/gateways", place.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield place, f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_a_client_stays_until_its_gateway_wants_no_more(home: tuple[Home, str]) -> None:
    """A cut leads back to where the session may be resumed; drain, full and silence lead elsewhere."""
    place, url = home
    dispatcher = Dispatcher(parse_url(url, "phone", "ios"), "north", lambda: 0.0)
    address = await dispatcher.address("t")
    assert (address.base, address.device_id, address.platform) == ("ws://a", "phone", "ios")
    assert place.asked == [("/v1/gateways?region=north", "Bearer t")]
    for code in (1006, 4001, 4002, 4003):
        dispatcher.ended(LinkEnd(code, ""))
        assert (await dispatcher.address("t")).base == "ws://a"
    assert len(place.asked) == 1
    for asked, code in enumerate((4000, 4004, 503, 0), start=2):
        dispatcher.ended(LinkEnd(code, ""))
        await dispatcher.address("t")
        assert len(place.asked) == asked


@pytest.mark.parametrize("answer", [b"nonsense", b'{"gateways":[{"url":"gopher://x","weight":1}]}', b"{}"])
async def test_without_an_answer_the_last_one_is_used(home: tuple[Home, str], answer: bytes) -> None:
    """And without any, the address that was given."""
    place, url = home
    dispatcher = Dispatcher(parse_url(url, "phone", "ios"), "", lambda: 0.0)
    good, place.answer = place.answer, answer
    assert (await dispatcher.address("t")).base == url.replace("http", "ws")
    dispatcher.ended(LinkEnd(4000, ""))
    place.answer = good
    assert (await dispatcher.address("t")).base == "ws://a"
    dispatcher.ended(LinkEnd(4000, ""))
    place.answer = answer
    assert (await dispatcher.address("t")).base == "ws://a"
