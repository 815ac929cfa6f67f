"""Reading back: pages of history keep the place, new messages don't move it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import MakePerson
from tests.browser.person import Person, direct

pytestmark = pytest.mark.browser

MESSAGES = 140
MAX_MOVE_PX = 2


def talk(person: MakePerson) -> tuple[Person, Person]:
    """Alice has written more than two pages of history; Bob opens it for the first time."""
    alice, bob = person("alice"), person("bob")
    conversation = direct(alice, bob)
    alice.arrive(conversation)
    alice.say_quickly([f"line {n:03}" for n in range(MESSAGES)])
    expect(alice.tick(f"line {MESSAGES - 1:03}")).to_have_accessible_name("Sent", timeout=60_000)
    bob.arrive(conversation)
    expect(bob.row(f"line {MESSAGES - 1:03}")).to_be_attached()
    bob.scroll_to(1_000_000)
    expect(bob.row(f"line {MESSAGES - 1:03}")).to_be_in_viewport()
    return alice, bob


def look_at(reader: Person, top_px: int) -> tuple[str, float]:
    """Scroll there and pick the row in the middle of the view: its seq, and how far down it stands."""
    seq, top = reader.scroller.evaluate(
        """(scroller, top) => {
          scroller.scrollTop = top;
          const view = scroller.getBoundingClientRect();
          const middle = view.top + view.height / 2;
          const rows = [...scroller.querySelectorAll("[data-seq]")];
          const row = rows.find((each) => each.getBoundingClientRect().bottom > middle);
          return [row.dataset.seq, row.getBoundingClientRect().top];
        }""",
        top_px,
    )
    return seq, top


def top_of(reader: Person, seq: str) -> float:
    script = "(scroller, seq) => scroller.querySelector(`[data-seq='${seq}']`).getBoundingClientRect().top"
    top: float = reader.scroller.evaluate(script, seq)
    return top


def test_older_pages_keep_the_place_until_the_beginning(person: MakePerson) -> None:
    """While pages come in above, the row that is read stays within two pixels, up to the first message."""
    _, bob = talk(person)
    moves = []
    while (oldest := bob.texts.first.inner_text()) != "line 000":
        seq, top = look_at(bob, 150)
        expect(bob.texts.first).not_to_have_text(oldest)
        moves.append(abs(top_of(bob, seq) - top))
    assert len(moves) >= 2
    assert max(moves) <= MAX_MOVE_PX
    bob.scroll_to(0)
    expect(bob.page.get_by_text("Beginning of the conversation")).to_be_visible()
    expect(bob.page.get_by_role("log").get_by_text("Today")).to_be_visible()


def test_a_new_message_does_not_move_the_reader(person: MakePerson) -> None:
    """Scrolled up, the page stays where it is and a button counts what is new; the button leads there."""
    alice, bob = talk(person)
    height_px = bob.scroller.evaluate("(scroller) => scroller.scrollHeight - scroller.clientHeight")
    seq, top = look_at(bob, height_px - 600)
    jump = bob.page.locator(".jump")
    expect(jump).to_have_accessible_name("Go to the latest message")
    alice.say("new one", "new two")
    expect(jump).to_have_accessible_name("2 new messages, go to the latest")
    assert abs(top_of(bob, seq) - top) <= MAX_MOVE_PX
    jump.click()
    expect(bob.row("new two")).to_be_in_viewport()
    expect(jump).to_be_hidden()
