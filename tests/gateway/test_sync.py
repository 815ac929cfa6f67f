"""Sync through a gateway: everything, everything since, pages, unread and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.conversation_view import ConversationView
from gateway.inbox import InboxReader
from gateway.progress import Progress
from gateway.sync import PAGE_CONVERSATIONS, SyncService
from gateway.sync_token import Place
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Head
from schemas.frames import Page, Sync
from schemas.ids import direct_conversation
from schemas.records import Receipt
from schemas.tables import BucketRow, MessageRow, StoredEvent
from tests.builders import an_inbound
from tests.gateway.path import Path

PARTITIONS = 2


class Story:
    """A history that grows by what people say, and syncs over it."""

    def __init__(self, page_bytes: int = 1 << 20) -> None:
        self.clock = ManualClock()
        self.routes = MemoryRouteTable(self.clock)
        self.history = MemoryHistory()
        bus = MemoryBus(PARTITIONS, self.clock)
        self.path = Path(bus, self.routes, self.history, self.clock, PARTITIONS)
        inbox = self.inbox = InboxReader(self.routes, self.history, self.clock)
        view = ConversationView(self.history)
        self.sync = SyncService(self.routes, inbox, view, self.clock, PARTITIONS, page_bytes)
        self.said = 0

    async def say(self, sender: str, conversation_id: str, text: str = "hi", **more: Any) -> None:
        self.said += 1
        self.clock.advance(0.001)
        await self.path.sequence(
            an_inbound(
                text=text,
                sender=sender,
                conversation_id=conversation_id,
                client_msg_id=f"m{self.said}",
                **more,
            )
        )
        self.clock.advance(0.001)
        await self.path.mark()

    async def page(
        self, user: str, token: str | None, progress: Progress | None = None, limit: int = 20
    ) -> Page:
        return await self.sync.page(user, Sync(token=token, limit=limit), progress or Progress(), True)

    async def all_pages(self, user: str, token: str | None, limit: int = 20) -> tuple[list[Page], str]:
        progress, pages, more = Progress(), [], True
        while more:
            pages.append(await self.page(user, token, progress, limit))
            token, more = pages[-1].token, pages[-1].more
            assert len(pages) < 500
        assert token is not None
        return pages, token


def seqs(pages: list[Page]) -> dict[str, list[int]]:
    """conversation → seqs in the order they came."""
    found: dict[str, list[int]] = {}
    for page in pages:
        for message in page.messages:
            found.setdefault(message.conversation_id, []).append(message.seq)
    return found


async def test_a_first_sync_brings_the_list_latest_first() -> None:
    """Each conversation with its newest messages and its row; the token then brings nothing."""
    story = Story()
    for other in ("bob", "carol"):
        for number in range(3):
            await story.say(other, direct_conversation("alice", other), f"{number}")
    (page,), token = await story.all_pages("alice", None, limit=2)
    assert [c.conversation_id for c in page.conversations] == ["d:alice:carol", "d:alice:bob"]
    assert seqs([page]) == {"d:alice:carol": [2, 3], "d:alice:bob": [2, 3]}
    row = page.conversations[0]
    assert (row.kind, row.head, row.unread, row.read_seq, row.muted) == ("direct", 3, 3, 0, False)
    assert row.last_message is not None
    assert row.last_message.seq == 3
    assert (page.more, page.reset) == (False, False)
    (later,), _ = await story.all_pages("alice", token)
    assert (later.messages, later.conversations) == ([], [])


async def test_a_token_brings_everything_since_and_nothing_before() -> None:
    """Also of a conversation that is new."""
    story = Story()
    await story.say("bob", "d:alice:bob")
    _, token = await story.all_pages("alice", None)
    for _ in range(3):
        await story.say("bob", "d:alice:bob")
    await story.say("carol", "d:alice:carol")
    pages, _ = await story.all_pages("alice", token)
    assert seqs(pages) == {"d:alice:bob": [2, 3, 4], "d:alice:carol": [1]}


async def test_a_paging_token_is_good_anywhere() -> None:
    """Each page from a gateway that knows nothing of those before: the list is whole, and nothing twice."""
    story = Story(page_bytes=2_000)
    names = [f"u{n:03}" for n in range(2 * PAGE_CONVERSATIONS + 5)]
    for name in names:
        for _ in range(3):
            await story.say(name, direct_conversation("alice", name))
    for since in (None, "10"):
        token, more, pages = since, True, []
        while more:
            pages.append(await story.page("alice", token))
            token, more = pages[-1].token, pages[-1].more
            assert len(pages) < 500
        assert seqs(pages) == {direct_conversation("alice", name): [1, 2, 3] for name in names}
        again, end = await story.all_pages("alice", since)
        assert (seqs(again), end) == (seqs(pages), token)


async def test_many_conversations_take_pages_and_none_is_passed_over() -> None:
    """Also one that gets a new message while the pages are asked for."""
    story = Story()
    names = [f"u{n:03}" for n in range(2 * PAGE_CONVERSATIONS + 5)]
    for name in names:
        await story.say(name, direct_conversation("alice", name))
    progress = Progress()
    first = await story.page("alice", None, progress)
    assert first.more
    assert progress.token == ""
    await story.say(names[0], direct_conversation("alice", names[0]))
    second = await story.page("alice", first.token, progress)
    third = await story.page("alice", second.token, progress)
    assert not third.more
    assert set(seqs([first, second, third])) == {direct_conversation("alice", n) for n in names}
    assert progress.token == third.token


async def test_a_long_gap_is_sent_in_pages_and_a_very_long_one_is_cut() -> None:
    """Up to 1,000 messages come all; of more only the newest `limit`, and the client sees the hole."""
    story = Story()
    await story.say("bob", "d:alice:bob")
    _, token = await story.all_pages("alice", None)
    for _ in range(999):
        await story.say("bob", "d:alice:bob")
    pages, _ = await story.all_pages("alice", token)
    assert len(pages) > 1
    assert seqs(pages)["d:alice:bob"] == list(range(2, 1_001))
    for _ in range(3):
        await story.say("bob", "d:alice:bob")
    pages, _ = await story.all_pages("alice", token, limit=5)
    assert seqs(pages)["d:alice:bob"] == list(range(999, 1_004))


async def test_unread_counts_from_the_read_cursor() -> None:
    """Own messages and events are left out."""
    story = Story()
    for _ in range(30):
        await story.say("bob", "d:alice:bob")
    await story.say("alice", "d:alice:bob")
    await story.say("bob", "d:alice:bob", mentions=["alice"])
    await story.history.move_cursors([Receipt("d:alice:bob", "alice", 30, 10, "", 1)])
    await story.history.move_cursors([Receipt("d:alice:bob", "bob", 31, 31, "", 1)])
    (page,), _ = await story.all_pages("alice", None, limit=1)
    (row,) = page.conversations
    assert (row.head, row.read_seq, row.unread, row.mentioned) == (32, 10, 21, True)
    assert (row.delivered_seq, row.peer_read_seq) == (31, 31)


async def test_a_group_is_seen_from_the_join_to_the_leave() -> None:
    """In a token sync the leave comes and nothing after; the first list leaves the group out."""
    story = Story()
    await story.say(
        "alice", "g:t", kind="group", content='{"action":"created","by":"alice","name":"T","members":[]}'
    )
    await story.say("alice", "g:t")
    _, token = await story.all_pages("bob", None)
    for action in ("joined", "removed"):
        await story.say(
            "alice", "g:t", kind="member", content=f'{{"action":"{action}","by":"alice","users":["bob"]}}'
        )
        await story.say("alice", "g:t")
    pages, _ = await story.all_pages("bob", token)
    assert seqs(pages) == {"g:t": [3, 4, 5]}
    assert pages[0].conversations[0].head == 5
    fresh, _ = await story.all_pages("bob", None)
    assert fresh[0].conversations == []
    (mine,), _ = await story.all_pages("alice", None)
    assert (mine.conversations[0].name, mine.conversations[0].members) == ("T", 1)


async def test_what_stands_behind_a_message_that_is_not_stored_yet_waits_for_it() -> None:
    """The token does not cover it; and it does not wait for what can no longer come."""
    story, here, now_ms = Story(), "d:alice:bob", ManualClock().now_ms()
    first, second = (
        MessageRow(here, seq, f"id{seq}", "bob", f"m{seq}", "text", "{}", now_ms, 0, []) for seq in (1, 2)
    )
    await story.history.write([BucketRow(here, 0, 1, now_ms), second])
    await story.routes.index({"alice": {here: now_ms}}, {here: Head(2, now_ms)})
    (page,), token = await story.all_pages("alice", None)
    assert (page.messages, page.conversations) == ([], [])
    story.clock.advance(1)
    await story.path.mark()
    assert seqs([await story.page("alice", token)]) == {here: [2]}
    await story.history.write([first])
    assert seqs([await story.page("alice", token)]) == {here: [1, 2]}


class Overtaken(MemoryHistory):
    """Something is stored in the moment after somebody has read who is a member."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def events(self, conversation_id: str) -> list[StoredEvent]:
        events = await super().events(conversation_id)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return events


async def test_who_is_removed_during_a_sync_sees_nothing_from_after_it() -> None:
    """Also in a later page of a long conversation: members are read after the messages."""
    story = Story()
    story.history = story.path.history = history = Overtaken()
    await story.say(
        "alice", "g:t", kind="group", content='{"action":"created","by":"alice","name":"T","members":["bob"]}'
    )
    await story.say("alice", "g:t")

    async def remove() -> None:
        await story.say(
            "alice", "g:t", kind="member", content='{"action":"removed","by":"alice","users":["bob"]}'
        )
        await story.say("alice", "g:t", "not for bob")

    cursors = asyncio.ensure_future(history.cursors("bob"))
    for after_seq in (1, None):
        history.meanwhile = remove
        place = Place("g:t", None, after_seq)
        view = await ConversationView(history).load("bob", place, 0, 2**53, 20, cursors)
        assert view is not None
        assert "not for bob" not in str(view.rows)


async def test_a_lost_index_is_rebuilt_from_the_history() -> None:
    """Nothing is missing at once; complete is said only once the stages have passed the loss."""
    story = Story()
    await story.say("bob", "d:alice:bob")
    await story.say("carol", "d:alice:carol")
    await story.path.mark()
    story.routes.flush()
    await story.path.mark()
    pages, _ = await story.all_pages("alice", None)
    assert set(seqs(pages)) == {"d:alice:bob", "d:alice:carol"}
    assert not (await story.routes.inbox("alice", 0)).complete
    story.clock.advance(1)
    await story.path.mark()
    await story.all_pages("alice", None)
    assert (await story.routes.inbox("alice", 0)).complete


async def test_an_index_that_is_lost_twice_is_not_whole_because_the_first_loss_is_over() -> None:
    """The stages have passed the first one by then, and not the second."""
    story = Story()
    await story.say("bob", "d:alice:bob")
    story.routes.flush()
    await story.all_pages("alice", None)
    story.clock.advance(1)
    story.routes.flush()
    story.inbox.forget_losses()
    await story.path.mark()
    await story.all_pages("alice", None)
    assert not (await story.routes.inbox("alice", 0)).complete


async def test_a_sync_over_a_lost_index_has_its_pongs_look_into_the_history() -> None:
    """What was indexed before the loss and is stored after the sync is told by nothing else."""
    story = Story()
    await story.say("alice", "d:alice:bob")
    story.routes.flush()
    progress = Progress()
    await story.page("bob", None, progress)
    assert progress.lost_at_ms == story.clock.now_ms()
    later = Progress()
    story.clock.advance(1.0)
    await story.path.mark()
    await story.page("bob", None, later)
    assert later.lost_at_ms == 0


async def test_a_token_that_was_never_ours_resets() -> None:
    """Also one from the future: then the data was set back."""
    story = Story()
    await story.say("bob", "d:alice:bob")
    for token in ("nonsense", f"1{story.clock.now_ms() + 10**9}"):
        page = await story.page("alice", token)
        assert page.reset
        assert seqs([page]) == {"d:alice:bob": [1]}


steps = st.lists(
    st.tuples(st.sampled_from(["bob", "carol", "dave"]), st.integers(1, 6), st.booleans()), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(steps, st.sampled_from([600, 2_000, 1 << 20]))
async def test_a_client_that_syncs_now_and_then_has_everything(
    told: list[tuple[str, int, bool]], page_bytes: int
) -> None:
    """Any messages, syncs at any moments, pages of any size: every seq arrives, in order within a sync."""
    story, have, token = Story(page_bytes), dict[str, set[int]](), None
    for sender, count, sync in told:
        for _ in range(count):
            await story.say(sender, direct_conversation("alice", sender))
        if sync:
            pages, token = await story.all_pages("alice", token, limit=100)
            for conversation_id, found in seqs(pages).items():
                assert found == sorted(set(found))
                have.setdefault(conversation_id, set()).update(found)
    pages, _ = await story.all_pages("alice", token, limit=100)
    for conversation_id, found in seqs(pages).items():
        have.setdefault(conversation_id, set()).update(found)
    assert have == {c: set(range(1, n + 1)) for c, n in story.path._seqs.items()}
