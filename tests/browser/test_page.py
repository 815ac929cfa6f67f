"""The page itself: safe, usable by keyboard, on small screens and in the dark; drafts stay."""

from __future__ import annotations

import pytest
from playwright.sync_api import ConsoleMessage, expect

from tests.browser.conftest import MakePerson, System
from tests.browser.person import direct

pytestmark = pytest.mark.browser

HOSTILE = [
    "<script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 1'>",
    "<svg onload=window.broken=1>",
    "javascript:window.broken=1",
    "https://a.test/\"onmouseover='window.broken=1'",
    "</span></div><iframe srcdoc='<script>parent.broken=1</script>'>",
    "{{constructor.constructor('window.broken=1')()}}",
    "\u202egnirts desrever",
    "👩‍👩‍👧‍👦 שלום עליכם",
]


def test_hostile_text_stays_text(person: MakePerson) -> None:
    """Markup, handlers and script addresses show as written, on both sides, and no script runs."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    alice.arrive(conversation)
    bob.arrive(conversation)
    alice.say(*HOSTILE)
    for one in (alice, bob):
        expect(one.texts).to_have_count(len(HOSTILE))
        assert one.texts.all_text_contents() == HOSTILE
        assert one.page.evaluate("window.broken ?? null") is None
        links = one.page.locator(".log a")
        assert [link.get_attribute("rel") for link in links.all()] == ["noopener noreferrer"]


def test_the_page_forbids_foreign_and_inline_scripts(person: MakePerson, system: System) -> None:
    """The policy has no unsafe-inline, and the page neither breaks it nor asks anybody but its server."""
    alice = person("alice")
    complaints: list[str] = []
    outside: list[str] = []

    def noted(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            complaints.append(message.text)

    alice.page.on("console", noted)
    alice.page.on(
        "request", lambda request: None if request.url.startswith(system.url) else outside.append(request.url)
    )
    answer = alice.page.request.get(system.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    alice.arrive()
    alice.start_chat("bob")
    assert complaints == []
    assert [url for url in outside if not url.startswith("data:")] == []


def test_enter_sends_and_shift_enter_breaks_the_line(person: MakePerson) -> None:
    """Shift+Enter makes a second line; an Enter that ends an input method's composition sends nothing."""
    alice = person("alice")
    alice.arrive()
    alice.start_chat("bob")
    alice.composer.press_sequentially("one")
    alice.composer.press("Shift+Enter")
    alice.composer.press_sequentially("two")
    composing = {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True}
    alice.composer.dispatch_event("keydown", composing)
    expect(alice.texts).to_have_count(0)
    alice.composer.press("Enter")
    expect(alice.texts).to_have_text(["one\ntwo"])
    expect(alice.composer).to_have_value("")
    expect(alice.composer).to_be_focused()


def test_drafts_stay_with_their_conversation(person: MakePerson) -> None:
    """What was written and not sent is there after a look elsewhere, a reload and an Escape."""
    alice = person("alice")
    alice.arrive()
    alice.start_chat("bob")
    alice.composer.fill("half a thought")
    alice.start_chat("carol")
    expect(alice.composer).to_have_value("")
    alice.page.go_back()
    expect(alice.heading).to_have_text("bob")
    expect(alice.composer).to_have_value("half a thought")
    alice.composer.press("Escape")
    alice.page.reload()
    expect(alice.composer).to_have_value("half a thought")


@pytest.mark.parametrize("width_px", [320, 360, 800])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_small_screens_in_both_schemes(person: MakePerson, width_px: int, scheme: str) -> None:
    """Nothing scrolls sideways, the composer is in sight, and on a phone one pane shows at a time."""
    alice = person("alice")
    alice.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    alice.page.set_viewport_size({"width": width_px, "height": 640})
    alice.arrive()
    alice.start_chat("a-rather-long-user-name-that-has-to-be-cut-somewhere-in-the-bar")
    alice.say("w" * 200, "a line with https://example.test/" + "x" * 120)
    expect(alice.texts).to_have_count(2)
    expect(alice.composer).to_be_in_viewport()
    assert alice.page.evaluate("document.documentElement.scrollWidth") == width_px
    assert alice.scroller.evaluate("(element) => element.scrollWidth - element.clientWidth") == 0
    expect(alice.page.get_by_role("navigation")).to_be_visible(visible=width_px > 700)


def test_it_is_told_to_those_who_cannot_see_it(person: MakePerson) -> None:
    """Messages are a polite log, every button has a name, and each status has words."""
    alice = person("alice")
    alice.arrive()
    alice.start_chat("bob")
    alice.say("hello")
    log = alice.page.get_by_role("log")
    expect(log).to_have_attribute("aria-live", "polite")
    expect(alice.tick("hello")).to_have_accessible_name("Sent")
    for button in alice.page.get_by_role("button").all():
        expect(button).not_to_have_accessible_name("")
    expect(alice.composer).to_have_accessible_name("Message to bob")
