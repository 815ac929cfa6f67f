"""The line breaks and comes back: nothing is lost, nothing comes twice, and the page says what goes on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.conftest import MakePerson, System
from tests.browser.person import direct

pytestmark = pytest.mark.browser


def test_messages_written_offline_go_by_themselves(person: MakePerson) -> None:
    """Five messages written offline arrive once and in order when the line is back, and the banner goes."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    alice.arrive(conversation)
    bob.arrive(conversation)
    alice.say("before")
    expect(bob.texts).to_have_text(["before"])
    alice.go_offline()
    written = [f"offline {n}" for n in range(5)]
    alice.say(*written)
    expect(alice.page.get_by_role("img", name="Sending")).to_have_count(5)
    alice.come_online()
    expect(bob.texts).to_have_text(["before", *written])
    expect(alice.texts).to_have_text(["before", *written])
    expect(alice.page.get_by_role("img", name="Sending")).to_have_count(0)


def test_unsent_messages_survive_a_closed_page(person: MakePerson) -> None:
    """Messages that could not go before the page was closed go when it is opened again, in order, once."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    bob.arrive(conversation)
    alice.arrive(conversation)
    alice.go_offline()
    written = [f"later {n}" for n in range(3)]
    alice.say(*written)
    alice.page.goto("about:blank")
    alice.context.set_offline(False)
    alice.arrive(conversation)
    expect(bob.texts).to_have_text(written)
    expect(alice.texts).to_have_text(written)


def test_what_others_wrote_meanwhile_is_there_afterwards(person: MakePerson) -> None:
    """Messages that came during the absence appear in order between what was before and after it."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    alice.arrive(conversation)
    bob.arrive(conversation)
    alice.say("start")
    expect(bob.texts).to_have_text(["start"])
    bob.go_offline()
    missed = [f"missed {n}" for n in range(30)]
    alice.say(*missed)
    expect(alice.page.get_by_role("img", name=re.compile("Sending|Accepted"))).to_have_count(0)
    bob.come_online()
    expect(bob.texts).to_have_text(["start", *missed])


def test_the_banner_counts_down_and_obeys(person: MakePerson) -> None:
    """The banner tells the next try and the last contact, and "Retry now" ends it once the line is back."""
    alice = person("alice")
    alice.arrive()
    alice.go_offline()
    expect(alice.banner).to_have_text(re.compile(r"Reconnecting in \d+ s · last contact \d\d:\d\d"))
    alice.come_online()


def test_a_killed_gateway_loses_and_repeats_nothing(person: MakePerson, system: System) -> None:
    """The gateway dies in the middle of a talk; both pages come back by themselves and agree on all of it."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    alice.arrive(conversation)
    bob.arrive(conversation)
    said = [f"word {n}" for n in range(40)]
    alice.say(*said[:20])
    system.kill("gw-1")
    alice.say(*said[20:])
    system.wait_ready("gw-1")
    for one in (alice, bob):
        expect(one.texts).to_have_text(said, timeout=90_000)
        expect(one.banner).to_be_hidden(timeout=90_000)
    expect(alice.page.get_by_role("img", name=re.compile("Sending|Accepted"))).to_have_count(0)


def test_a_token_that_runs_out_is_renewed(person: MakePerson) -> None:
    """A demo user whose token the server no longer takes gets a new one, without being asked."""
    alice, sockets = person("alice"), list[WebSocketRoute]()

    def pass_on(route: WebSocketRoute) -> None:
        sockets.append(route)
        route.connect_to_server()

    alice.page.route_web_socket(re.compile("/v1/ws"), pass_on)
    alice.arrive()
    alice.start_chat("bob")
    sockets[0].close(code=4500, reason="expired")
    alice.say("still here")
    expect(alice.tick("still here")).to_have_accessible_name("Sent")
    assert len(sockets) == 2
