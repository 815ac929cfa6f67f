"""A real Chromium: pages of people on the running system, and a bare page for the chat's pure modules."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from infra.kafka import KafkaBus
from infra.settings import Settings
from pipeline.moderation.policy import publish_policy, read_policy
from schemas.records import Policy, Rule
from tests.browser.person import Person

WEB = Path(__file__).parents[2] / "gateway" / "web"
PATIENCE_S = 45.0
REJECTED = 403
MODULES_URL = "http://modules.test"
FLAGS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

RunJs = Callable[[str], Any]
MakePerson = Callable[[str], Person]


class System(Protocol):
    """What these tests need of the running system: the fixture `system` of tests/conftest.py."""

    url: str
    settings: Settings

    def token(self, user: str) -> str: ...

    def kill(self, name: str) -> None: ...

    def wait_ready(self, name: str) -> None: ...


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("Chromium is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def modules_page(chromium: Browser) -> Iterator[Page]:
    """An empty page that finds the chat's modules at its root, without any server."""
    context = chromium.new_context()
    context.route(f"{MODULES_URL}/**", _serve_module)
    page = context.new_page()
    page.goto(MODULES_URL)
    yield page
    context.close()


def _serve_module(route: Route) -> None:
    name = route.request.url.removeprefix(f"{MODULES_URL}/")
    if name:
        route.fulfill(path=WEB / name, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html>", content_type="text/html")


@pytest.fixture
def run_js(modules_page: Page) -> RunJs:
    """Run the body of an async function, which may `import("/session.js")`, and get what it returns."""
    return lambda body: modules_page.evaluate(f"async () => {{ {body} }}")


@pytest.fixture
def forbidden_word(system: System) -> Iterator[str]:
    """A word that the policy in force rejects, here and now."""
    word = "forbiddenword"
    rule = Rule("browser-tests", "abuse", "reject", [word])
    _change_policy(system.settings, lambda rules: [*rules, rule])
    deadline = time.monotonic() + PATIENCE_S
    while _answer_to(system, word) != REJECTED:
        assert time.monotonic() < deadline, "the policy is not in force"
    yield word
    _change_policy(system.settings, lambda rules: [other for other in rules if other.id != rule.id])


def _change_policy(settings: Settings, change: Callable[[list[Rule]], list[Rule]]) -> None:
    async def publish() -> None:
        bus = KafkaBus(settings)
        await bus.startup()
        try:
            present = await read_policy(bus)
            await publish_policy(bus, Policy(present.version + 1, change(present.rules)))
        finally:
            await bus.shutdown()

    with ThreadPoolExecutor(1) as pool:  # the thread of a browser test runs Playwright's event loop
        pool.submit(asyncio.run, publish()).result()


def _answer_to(system: System, text: str) -> int:
    """The status of a message with this text, sent over HTTP."""
    frame = {"conversation_id": "d:policy-a:policy-b", "kind": "text", "content": {"text": text}}
    headers = {"Authorization": f"Bearer {system.token('policy-a')}", "Content-Type": "application/json"}
    request = Request(f"{system.url}/v1/messages", json.dumps(frame).encode(), headers)
    try:
        with urlopen(request, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except HTTPError as refusal:
        return refusal.code


@pytest.fixture
def person(chromium: Browser, system: System, request: pytest.FixtureRequest) -> Iterator[MakePerson]:
    """Makes people, each with a browser profile of their own; nobody is known to another test."""
    people: list[Person] = []

    def make(name: str) -> Person:
        context = chromium.new_context(viewport={"width": 1100, "height": 760})
        people.append(Person(context, system.url, f"{name}-{Person.unique(request.node.name)}"))
        return people[-1]

    yield make
    for one in people:
        one.context.close()
    assert [problem for one in people for problem in one.script_errors] == []
