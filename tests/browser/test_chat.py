"""Two people chat through the whole path, each in a browser of their own."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.conftest import MakePerson
from tests.browser.person import direct

pytestmark = pytest.mark.browser


def test_a_message_arrives_and_its_ticks_follow_the_reader(person: MakePerson) -> None:
    """The sender sees delivered once the other device has it, and read only when the other opens it."""
    alice, bob = person("alice"), person("bob")
    bob.arrive()
    alice.arrive()
    alice.start_chat(bob.user)
    alice.say("good morning")
    expect(alice.tick("good morning")).to_have_accessible_name("Delivered")
    bob.item(direct(alice, bob)).click()
    expect(bob.texts).to_have_text(["good morning"])
    expect(alice.tick("good morning")).to_have_accessible_name(f"Read by {bob.user}")


def test_no_tick_before_the_answer(person: MakePerson) -> None:
    """While the server's answers are held back the message shows a clock; released, it goes on."""
    alice, held, holding = person("alice"), list[tuple[WebSocketRoute, str | bytes]](), [True]

    def pass_on(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def answered(frame: str | bytes) -> None:
            answers = re.search(r'"type":\s*"(accepted|sent)"', str(frame))
            if holding[0] and answers:
                held.append((route, frame))
            else:
                route.send(frame)

        server.on_message(answered)

    alice.page.route_web_socket(re.compile("/v1/ws"), pass_on)
    alice.arrive()
    alice.start_chat("nobody-there")
    alice.say("are you there?")
    expect(alice.tick("are you there?")).to_have_accessible_name("Sending")
    alice.page.wait_for_timeout(300)
    expect(alice.tick("are you there?")).to_have_accessible_name("Sending")
    holding[0] = False
    for route, frame in held:
        route.send(frame)
    expect(alice.tick("are you there?")).to_have_accessible_name("Sent")


def test_both_talk_and_see_one_order(person: MakePerson) -> None:
    """Messages of both sides, written without waiting, stand in the same order on both pages, each once."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    alice.arrive(conversation)
    bob.arrive(conversation)
    for n in range(10):
        alice.say(f"alice {n}")
        bob.say(f"bob {n}")
    for one in (alice, bob):
        expect(one.texts).to_have_count(20)
        expect(one.page.get_by_role("img", name=re.compile("Sending|Accepted"))).to_have_count(0)
    expect(bob.texts).to_have_text(alice.texts.all_inner_texts())
    alices = [text for text in bob.texts.all_inner_texts() if text.startswith("alice")]
    assert alices == [f"alice {n}" for n in range(10)]


def test_unread_messages_show_in_the_list_and_the_title(person: MakePerson) -> None:
    """Badge and title count what is unread, survive a reload, leave own words out, and end with reading."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    bob.arrive()
    alice.arrive(conversation)
    alice.say("one", "two", "three")
    expect(bob.badge(conversation)).to_have_text("3")
    expect(bob.page).to_have_title("(3) Skein")
    bob.page.reload()
    expect(bob.badge(conversation)).to_have_text("3")
    bob.item(conversation).click()
    expect(bob.page.get_by_role("log").get_by_text("New messages")).to_be_visible()
    expect(bob.badge(conversation)).to_be_hidden()
    expect(bob.page).to_have_title("Skein")
    expect(alice.page).to_have_title("Skein")
    bob.page.reload()
    expect(bob.texts).to_have_count(3)
    expect(bob.badge(conversation)).to_be_hidden()


def test_a_rejected_message_stays_with_its_reason(person: MakePerson, forbidden_word: str) -> None:
    """Who wrote it sees why and may delete it or try again; the other never sees it, and talk goes on."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    alice.arrive(conversation)
    bob.arrive(conversation)
    alice.say(f"this is a {forbidden_word} here", "this is fine")
    failed = alice.page.get_by_role("log").locator(".is-failed")
    expect(failed.locator(".failure-reason")).to_have_text(re.compile("^Not sent: .+"))
    expect(alice.tick(forbidden_word)).to_have_accessible_name("Not sent")
    expect(bob.texts).to_have_text(["this is fine"])
    failed.get_by_role("button", name="Retry").click()
    expect(failed).to_have_count(1)
    expect(failed.locator(".failure-reason")).to_be_visible()
    failed.get_by_role("button", name="Delete").click()
    expect(alice.texts).to_have_text(["this is fine"])
    expect(bob.texts).to_have_text(["this is fine"])


def test_two_windows_of_one_profile(person: MakePerson) -> None:
    """The newer window takes over; the older one says so and can take the chat back."""
    alice = person("alice")
    alice.arrive()
    newer = alice.context.new_page()
    newer.goto(alice.page.url)
    expect(alice.banner).to_contain_text("another window")
    alice.banner.get_by_role("button", name="Use it here").click()
    expect(alice.banner).to_be_hidden()
    expect(newer.locator(".banner")).to_contain_text("another window")
