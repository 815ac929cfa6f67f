"""gateway/web/rows.js, wording.js, ids.js, groups.js, banner.js: what is shown, as values."""

from __future__ import annotations

import json

import pytest

from tests.browser.conftest import RunJs

pytestmark = pytest.mark.browser

ROWS = """
const { rowsOf } = await import("/rows.js");
const { Conversation } = await import("/conversation.js");
const noon = new Date(2026, 4, 20, 12).getTime();
const text = (text) => ({kind: "text", content: {text}});
const bobs = (seq) => ({seq, sender: "bob", ...text(`m${seq}`), sent_at_ms: noon + seq});
const message = (seq, more = {}) => ({...bobs(seq), ...more});
const waiting = {written_at_ms: noon + 99, status: "sending"};
const entry = (id, more = {}) => ({client_msg_id: id, ...text(id), ...waiting, ...more});
const withMessages = (...messages) => {
  const conversation = new Conversation("g:1", "ann");
  conversation.addPage(messages);
  return conversation;
};
const keys = (rows) => rows.map((row) => row.key.replace(/day:.*/, "day"));
"""


def test_days_are_separated_and_neighbours_stand_together(run_js: RunJs) -> None:
    """A new day and another sender start a block; messages of one sender join the one above."""
    script = """
    const tomorrow = {sender: "cy", sent_at_ms: noon + 864e5};
    const c = withMessages(message(1), message(2), message(3, {sender: "cy"}), message(4, tomorrow));
    const rows = rowsOf(c, [], "ann", null);
    return [keys(rows), rows.map((row) => row.joined ?? null)]
    """
    keys, joined = run_js(ROWS + script)
    assert keys == ["beginning", "day", "seq:1", "seq:2", "seq:3", "day", "seq:4"]
    assert joined == [None, None, False, True, False, None, False]


def test_failed_messages_keep_their_place_and_those_under_way_stand_last(run_js: RunJs) -> None:
    """A failed message stays where it was written, whatever is said later; edits and recalls are no rows."""
    script = """
    const c = withMessages(message(1), message(2), message(3, {kind: "edit", content: {seq: 1}}));
    return keys(rowsOf(c, [entry("bad", {status: "failed", after_seq: 1}), entry("new")], "ann", 2))
    """
    assert run_js(ROWS + script) == ["beginning", "day", "seq:1", "own:bad", "unread", "seq:2", "own:new"]


def test_a_message_keeps_its_row_when_it_gets_its_place(run_js: RunJs) -> None:
    """The key of an own message is the same before and after `sent`, so it is not announced twice."""
    script = """
    const last = (messages, entries) => rowsOf(withMessages(...messages), entries, "ann", null).at(-1);
    const before = last([message(1)], [entry("a")]);
    const after = last([message(1), message(2, {sender: "ann", client_msg_id: "a"})], []);
    return [before.key, before.status, after.key, after.status]
    """
    assert run_js(ROWS + script) == ["own:a", "sending", "own:a", "sent"]


@pytest.mark.parametrize(
    ("kind", "content", "line"),
    [
        ("group", {"action": "created", "by": "ann", "name": "Hike"}, "You created the group “Hike”"),
        ("member", {"action": "joined", "by": "bob", "users": ["cy", "bob", "ann"]}, "bob added cy and you"),
        ("member", {"action": "left", "by": "bob", "users": ["bob"]}, "bob left"),
        ("member", {"action": "unheard-of", "by": "bob"}, "The group changed"),
    ],
)
def test_events_are_told_in_words(run_js: RunJs, kind: str, content: dict[str, object], line: str) -> None:
    """Each membership event has its line, and an unknown action does no harm."""
    event = json.dumps({"kind": kind, "content": content})
    script = f'const {{ eventText }} = await import("/wording.js"); return eventText({event}, "ann")'
    assert run_js(script) == line


def test_only_web_addresses_become_links(run_js: RunJs) -> None:
    """http and https are links, without the full stop behind; scripts and markup stay text."""
    script = """
    const { splitLinks } = await import("/wording.js");
    const text = 'see https://a.test/x?y=1. or javascript:alert(1) <a href="data:x">';
    return splitLinks(text).map((piece) => [piece.text, piece.link])
    """
    assert run_js(script) == [
        ["see ", False],
        ["https://a.test/x?y=1", True],
        ['. or javascript:alert(1) <a href="data:x">', False],
    ]


def test_names_of_conversations(run_js: RunJs) -> None:
    """Direct ids are sorted by code point, ids with separators are refused, new message ids are UUIDv7."""
    script = """
    const ids = await import("/ids.js");
    const made = ids.newClientMsgId(1700000000000, new Uint8Array(16).fill(255));
    const peers = ["bob", "cy"].map((me) => ids.peerOf("d:ann:bob", me));
    const valid = ["ann", "a:b", "a b", "", "a".repeat(65)].map(ids.isUserId);
    return [ids.directConversation("bob", "Zoe"), peers, valid, made]
    """
    assert run_js(script) == [
        "d:Zoe:bob",
        ["ann", None],
        [True, False, False, False, False],
        "018bcfe5-6800-7fff-bfff-ffffffffffff",
    ]


def test_the_banner_says_when_and_what_to_do(run_js: RunJs) -> None:
    """Countdown and last contact while waiting, nothing while connected, an action when it is over."""
    script = """
    const { bannerOf } = await import("/banner.js");
    const at = new Date(2026, 0, 5, 10, 2).getTime();
    const times = {retryAtMs: at + 2500, lastContactMs: at, sinceMs: at};
    const banner = (state, more = {}) => bannerOf({state, ...times, ...more}, at);
    const replaced = banner("closed", {ending: {code: 4502, reason: ""}});
    const first = banner("connecting", {lastContactMs: null});
    return [banner("connected"), banner("disconnected"), replaced, first]
    """
    connected, waiting, replaced, first = run_js(script)
    assert connected is None
    assert first is None
    assert waiting == {
        "text": "Reconnecting",
        "detail": " in 3 s · last contact 10:02",
        "action": "Retry now",
    }
    assert replaced["action"] == "Use it here"
