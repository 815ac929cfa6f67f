"""A person at the chat page: what one does and sees, in the words of the page."""

from __future__ import annotations

import hashlib
import time
from urllib.parse import quote

from playwright.sync_api import BrowserContext, Locator, Page, expect

__all__ = ["Person", "direct"]

WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)


def direct(one: Person, other: Person) -> str:
    return "d:" + ":".join(sorted([one.user, other.user]))


class Person:
    def __init__(self, context: BrowserContext, url: str, user: str) -> None:
        self.context = context
        self.user = user
        self.script_errors: list[str] = []
        self._url = url
        context.set_default_timeout(WAIT_MS)
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.script_errors.append(str(error)))

    @staticmethod
    def unique(test_name: str) -> str:
        """A short name part that no other test, and no other run on kept data, has."""
        return hashlib.blake2s(f"{test_name}{time.time_ns()}".encode(), digest_size=5).hexdigest()

    # What a person does

    def arrive(self, conversation_id: str = "") -> None:
        """Open the page, logged in, and wait until it is connected."""
        fragment = f"#{conversation_id}" if conversation_id else ""
        self.page.goto(f"{self._url}/?as={quote(self.user)}{fragment}")
        self.expect_connected()

    def start_chat(self, user: str) -> None:
        self.page.get_by_label("Find or start a chat").fill(user)
        self.page.get_by_label("Find or start a chat").press("Enter")
        expect(self.heading).to_have_text(user)

    def say(self, *texts: str) -> None:
        for text in texts:
            self.composer.fill(text)
            self.composer.press("Enter")

    def say_quickly(self, texts: list[str]) -> None:
        """Many messages by the composer's own events, in one go: faster than any fingers."""
        self.composer.evaluate(
            """(field, texts) => {
              for (const text of texts) {
                field.value = text;
                field.dispatchEvent(new InputEvent("input", { bubbles: true }));
                field.form.requestSubmit();
              }
            }""",
            texts,
        )

    def go_offline(self) -> None:
        self.context.set_offline(True)
        expect(self.banner).to_be_visible()

    def come_online(self) -> None:
        self.context.set_offline(False)
        self.expect_connected()
        expect(self.banner).to_be_hidden()

    def scroll_to(self, top_px: int) -> None:
        self.scroller.evaluate("(element, top) => { element.scrollTop = top; }", top_px)

    # What a person sees

    def expect_connected(self) -> None:
        expect(self.page.locator(".app")).to_have_attribute("data-state", "connected")

    @property
    def banner(self) -> Locator:
        return self.page.locator(".banner")

    @property
    def composer(self) -> Locator:
        return self.page.locator(".composer textarea")

    @property
    def heading(self) -> Locator:
        return self.page.locator(".open h1")

    @property
    def scroller(self) -> Locator:
        return self.page.locator(".scroller")

    @property
    def texts(self) -> Locator:
        return self.page.get_by_role("log").locator(".text")

    @property
    def events(self) -> Locator:
        return self.page.get_by_role("log").locator(".row-event")

    def row(self, text: str) -> Locator:
        return self.page.get_by_role("log").locator(".row", has_text=text)

    def tick(self, text: str) -> Locator:
        return self.row(text).get_by_role("img")

    def item(self, conversation_id: str) -> Locator:
        return self.page.locator(f".item[data-conversation='{conversation_id}']")

    def badge(self, conversation_id: str) -> Locator:
        return self.item(conversation_id).locator(".badge")
