"""gateway/web/conversation.js: order, holes, unread and cursors of one conversation."""

from __future__ import annotations

import pytest

from tests.browser.conftest import RunJs

pytestmark = pytest.mark.browser

CONVERSATION = """
const { Conversation } = await import("/conversation.js");
const made = (id = "d:ann:bob") => new Conversation(id, "ann");
const text = (seq) => ({sender: "bob", kind: "text", content: {text: `m${seq}`}, sent_at_ms: seq});
const message = (seq, more = {}) => ({seq, ...text(seq), ...more});
const range = (from, to) => Array.from({length: to - from + 1}, (_, i) => message(from + i));
const seqs = (c) => c.run.map((m) => m.seq);
const summary = (more) => ({head: 0, read_seq: 0, unread: 0, muted: false, mentioned: false, ...more});
"""


def test_a_message_beyond_a_hole_waits_for_it(run_js: RunJs) -> None:
    """Nobody sees 5 before 4, and the hole is known by the seq before it."""
    script = """
    const c = made(); range(1, 3).forEach((m) => c.add(m)); c.add(message(5));
    const waiting = [seqs(c), c.missingAfterSeq]; c.add(message(4));
    return [waiting, seqs(c), c.missingAfterSeq]
    """
    assert run_js(CONVERSATION + script) == [[[1, 2, 3], 3], [1, 2, 3, 4, 5], None]


def test_any_order_and_any_repeats_end_in_one_order(run_js: RunJs) -> None:
    """Deliveries and history in every shuffled, repeated order come to the same run, each message once."""
    script = """
    let seed = 7; const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
    const wanted = range(1, 12).map((m) => m.seq).join();
    const wrong = [];
    for (let round = 0; round < 500; round += 1) {
      const c = made(); c.addPage([message(1)]);
      const live = [...range(2, 12), ...range(4, 9)].map((m) => [random(), m]).sort((a, b) => a[0] - b[0]);
      live.forEach(([, m], i) => { c.add(m); if (i === 6) c.addNewer(range(2, 5), 1, false); });
      if (seqs(c).join() !== wanted) wrong.push(seqs(c));
    }
    return wrong
    """
    assert run_js(CONVERSATION + script) == []


def test_after_a_long_absence_the_newest_stretch_is_shown(run_js: RunJs) -> None:
    """A page that leaves a hole starts the run anew; history joins it to what was known."""
    script = """
    const c = made(); c.addPage(range(1, 5)); c.addPage(range(20, 25));
    const first = seqs(c)[0];
    c.addOlder(range(10, 19).reverse(), true, 20); const second = seqs(c)[0];
    c.addOlder(range(1, 9).reverse(), false, 10);
    return [first, second, seqs(c).length, c.startsAtBeginning]
    """
    assert run_js(CONVERSATION + script) == [20, 10, 25, True]


def test_a_range_that_may_not_be_seen_is_no_hole(run_js: RunJs) -> None:
    """Who was away from a group from 4 to 6 sees 3 and 7 as neighbours once history says so."""
    script = """
    const c = made("g:1"); c.addPage([message(7), message(8)]);
    c.addOlder(range(1, 3).reverse(), false, 7);
    return [seqs(c), c.startsAtBeginning, c.missingAfterSeq]
    """
    assert run_js(CONVERSATION + script) == [[1, 2, 3, 7, 8], True, None]


def test_a_settled_hole_lets_the_later_messages_through(run_js: RunJs) -> None:
    """When the last try to fill a hole brings nothing, what waited beyond it is shown."""
    script = """
    const c = made("g:1"); c.addPage(range(1, 3)); c.add(message(6)); c.addNewer([], 3, true);
    const shown = seqs(c); c.add(message(5)); c.add(message(4));
    return [shown, seqs(c)]
    """
    assert run_js(CONVERSATION + script) == [[1, 2, 3, 6], [1, 2, 3, 4, 5, 6]]


def test_a_head_beyond_the_end_is_a_lost_tail(run_js: RunJs) -> None:
    """A `pong` that names a newer seq than the newest message shows what is missing."""
    script = "const c = made(); c.add(message(4)); c.noteHead(6); return c.missingAfterSeq"
    assert run_js(CONVERSATION + script) == 4


def test_unread_counts_neither_own_messages_nor_events(run_js: RunJs) -> None:
    """Own words and the kinds recall, edit, reaction, member and group are no news; system is."""
    script = """
    const c = made("g:1"); c.applySummary(summary());
    const kinds = ["text", "member", "group", "edit", "recall", "reaction", "system", "image"];
    kinds.forEach((kind, i) => c.add(message(i + 1, {kind}))); c.add(message(9, {sender: "ann"}));
    return [c.unread, c.readSeq]
    """
    assert run_js(CONVERSATION + script) == [3, 0]


def test_unread_follows_the_cursor_and_repeats_change_nothing(run_js: RunJs) -> None:
    """Unread is a function of cursors: a repeat, an own device's receipt and a late cursor keep it right."""
    script = """
    const c = made(); c.applySummary(summary({head: 100, read_seq: 60, unread: 40}));
    c.addPage(range(81, 100));
    const counts = [c.unread]; const note = () => counts.push(c.unread);
    c.add(message(101)); c.add(message(101)); note();
    c.markRead(90); note(); c.markRead(70); note();
    c.applyReceipt({user_id: "ann", read_seq: 99}); note(); c.markRead(101); note();
    return counts
    """
    assert run_js(CONVERSATION + script) == [40, 41, 11, 11, 2, 0]


def test_a_new_conversation_is_unread_from_its_first_sight(run_js: RunJs) -> None:
    """A group that one is added to at seq 41 has no unread history, but its next message counts."""
    script = """
    const c = made("g:1"); c.add(message(41, {kind: "member"})); const added = c.unread; c.add(message(42));
    return [added, c.unread, c.startsAtBeginning]
    """
    assert run_js(CONVERSATION + script) == [0, 1, False]


def test_the_status_of_a_message_comes_from_cursors_only(run_js: RunJs) -> None:
    """Sent, delivered and read follow the others' cursors, which never go backwards."""
    script = """
    const c = made(); c.add(message(3, {sender: "ann"})); const seen = [c.statusOf(3).status];
    const receive = (more) => { c.applyReceipt({user_id: "bob", ...more}); seen.push(c.statusOf(3).status); };
    receive({delivered_seq: 2}); receive({delivered_seq: 3}); receive({read_seq: 3}); receive({read_seq: 1});
    return [...seen, c.statusOf(3).readers]
    """
    assert run_js(CONVERSATION + script) == ["sent", "sent", "delivered", "read", "read", ["bob"]]


def test_edits_and_recalls_reach_messages_that_are_loaded_later(run_js: RunJs) -> None:
    """An event changes its target whether that is already here or comes by history afterwards."""
    script = """
    const c = made(); c.addPage([message(3)]);
    c.add(message(4, {kind: "edit", content: {seq: 3, content: {text: "new"}}}));
    c.add(message(5, {kind: "recall", content: {seq: 2}}));
    c.addOlder([message(2), message(1)], false, 3);
    return c.run.slice(0, 3).map((m) => [m.content.text, m.recalled ?? false, m.edited_at_ms ?? null])
    """
    assert run_js(CONVERSATION + script) == [["m1", False, None], ["m2", True, None], ["new", False, 4]]
