"""Groups: made, filled and left from the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import MakePerson
from tests.browser.person import Person

pytestmark = pytest.mark.browser


def make_group(owner: Person, name: str, *members: str) -> str:
    """Make a group in the dialog; returns its id from the page's address."""
    owner.page.get_by_role("button", name="New group").click()
    dialog = owner.page.get_by_role("dialog", name="New group")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Members").fill(", ".join(members))
    dialog.get_by_role("button", name="Create group").click()
    expect(owner.heading).to_have_text(name)
    return owner.page.url.partition("#")[2]


def test_a_new_group_reaches_its_members(person: MakePerson) -> None:
    """Everyone named sees the group with its name, the event that made it, and what is said in it."""
    alice, bob, carol = person("alice"), person("bob"), person("carol")
    for one in (alice, bob, carol):
        one.arrive()
    group = make_group(alice, "Weekend hike", bob.user, carol.user)
    alice.say("shall we start at eight?")
    for one in (bob, carol):
        expect(one.item(group)).to_contain_text("Weekend hike")
        expect(one.badge(group)).to_have_text("1")
        one.item(group).click()
        expect(one.texts).to_have_text(["shall we start at eight?"])
        expect(one.events.first).to_contain_text(f"{alice.user} created the group")
    bob.say("yes")
    expect(carol.texts).to_have_text(["shall we start at eight?", "yes"])


def test_members_come_and_go_before_everyones_eyes(person: MakePerson) -> None:
    """An added member sees what follows and not what was before; who left sees nothing more."""
    alice, bob, carol = person("alice"), person("bob"), person("carol")
    for one in (alice, bob, carol):
        one.arrive()
    group = make_group(alice, "Book club", bob.user)
    alice.say("before carol")
    alice.page.get_by_role("button", name="Members").click()
    dialog = alice.page.get_by_role("dialog", name="Members")
    dialog.get_by_label("Add people").fill(carol.user)
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.get_by_role("list")).to_contain_text(carol.user)
    dialog.get_by_role("button", name="Close").click()
    expect(alice.events.last).to_have_text(f"You added {carol.user}")
    carol.item(group).click()
    expect(carol.heading).to_have_text("Book club")
    alice.say("welcome carol")
    expect(carol.texts).to_have_text(["welcome carol"])
    carol.page.get_by_role("button", name="Members").click()
    carol.page.get_by_role("dialog", name="Members").get_by_role("button", name="Leave group").click()
    expect(alice.events.last).to_contain_text(f"{carol.user} left")
    alice.say("after carol")
    expect(alice.tick("after carol")).to_have_accessible_name("Delivered")
    expect(carol.texts).to_have_text(["welcome carol"])


def test_a_wrong_name_is_told_in_the_dialog(person: MakePerson) -> None:
    """An impossible user id is named, and the dialog stays open with what was written."""
    alice = person("alice")
    alice.arrive()
    alice.page.get_by_role("button", name="New group").click()
    dialog = alice.page.get_by_role("dialog", name="New group")
    dialog.get_by_label("Name").fill("Oops")
    dialog.get_by_label("Members").fill("bob, a:b")
    dialog.get_by_role("button", name="Create group").click()
    expect(dialog.get_by_role("alert")).to_have_text("“a:b” is not a user id")
    expect(dialog.get_by_label("Name")).to_have_value("Oops")
