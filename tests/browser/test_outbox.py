"""gateway/web/outbox.js, holes.js and names.js: what goes out when, and what is asked for again."""

from __future__ import annotations

import pytest

from tests.browser.conftest import RunJs

pytestmark = pytest.mark.browser

OUTBOX = """
const rules = await import("/outbox.js");
const kept = new Map();
const keep = (entry) => kept.set(entry.client_msg_id, entry);
const drop = (entry) => kept.delete(entry.client_msg_id);
const made = (entries = []) => new rules.Outbox(entries, keep, drop);
const write = (outbox, id, conversation = "g:1") => outbox.add(id, conversation, {text: id}, 0, 0);
const ready = (outbox, now = 0) => outbox.takeReady(now).map((entry) => entry.client_msg_id);
const temporary = {message: "slow down", temporary: true};
const terminal = {message: "not allowed", temporary: false};
"""


def test_one_conversation_keeps_its_order_and_others_do_not_wait(run_js: RunJs) -> None:
    """The next message of a conversation goes out when the one before it is accepted."""
    script = """
    const o = made(); write(o, "a"); write(o, "b"); write(o, "x", "g:2");
    const first = [ready(o), ready(o)]; o.accepted("a"); const second = ready(o); o.done("x");
    return [...first, second, ready(o)]
    """
    assert run_js(OUTBOX + script) == [["a", "x"], [], ["b"], []]


def test_unanswered_messages_go_again_in_order_after_a_reconnect(run_js: RunJs) -> None:
    """A new connection asks for everything again under the same ids, the accepted ones first."""
    script = """
    const o = made(); write(o, "a"); write(o, "b"); ready(o); o.accepted("a"); ready(o); o.restart();
    const first = ready(o); o.accepted("a");
    return [first, ready(o), o.get("a").status]
    """
    assert run_js(OUTBOX + script) == [["a"], ["b"], "accepted"]


def test_a_reload_forgets_nothing(run_js: RunJs) -> None:
    """An outbox made from the kept entries sends them in the order written, however they are found."""
    script = """
    const o = made(); ["b", "a", "c"].forEach((id) => write(o, id)); ready(o);
    const again = made([...kept.values()].reverse());
    const order = [];
    while (kept.size) { const [id] = ready(again); order.push(id); again.done(id); }
    return [order, kept.size]
    """
    assert run_js(OUTBOX + script) == [["b", "a", "c"], 0]


def test_a_temporary_refusal_is_tried_again_later_and_holds_the_order(run_js: RunJs) -> None:
    """While the first waits as long as the server wants, the second does not overtake it."""
    script = """
    const o = made(); write(o, "a"); write(o, "b"); ready(o);
    o.refused("a", {...temporary, retry_after_ms: 700}, 0);
    return [ready(o, 699), ready(o, 700), o.get("a").status]
    """
    assert run_js(OUTBOX + script) == [[], ["a"], "sending"]


def test_tries_are_bounded(run_js: RunJs) -> None:
    """After the last temporary refusal the message is failed, with the reason, and the next one goes."""
    script = """
    const o = made(); write(o, "a"); write(o, "b"); let now = 0;
    for (let i = 0; i < rules.TRIES; i += 1) { ready(o, now); o.refused("a", temporary, now); now += 60000; }
    return [o.get("a").status, o.get("a").reason, ready(o, now)]
    """
    assert run_js(OUTBOX + script) == ["failed", "slow down", ["b"]]


def test_a_terminal_refusal_waits_for_the_user(run_js: RunJs) -> None:
    """A rejected message stays and is never sent by itself until it is removed; others cannot be removed."""
    script = """
    const o = made(); write(o, "a"); write(o, "b"); ready(o);
    o.accepted("a"); o.refused("a", terminal, 0); o.restart();
    const sent = ready(o); const removed = [o.remove("b"), o.remove("a").client_msg_id];
    return [sent, removed, [...kept.keys()]]
    """
    assert run_js(OUTBOX + script) == [["b"], [None, "a"], ["b"]]


def test_an_answer_that_never_comes_is_asked_for_again(run_js: RunJs) -> None:
    """An unanswered message goes again after the answer timeout, and not before."""
    script = """
    const o = made(); write(o, "a"); ready(o, 0);
    return [ready(o, rules.ANSWER_TIMEOUT_MS - 1), ready(o, rules.ANSWER_TIMEOUT_MS)]
    """
    assert run_js(OUTBOX + script) == [[], ["a"]]


def test_a_hole_is_asked_for_after_patience_and_settled_after_its_tries(run_js: RunJs) -> None:
    """One request at a time; no answer is no try."""
    script = """
    const { Holes, PATIENCE_MS, TRIES } = await import("/holes.js");
    const holes = new Holes(); const broken = [{id: "g:1", missingAfterSeq: 3}];
    const early = holes.plan(broken, 0).length; const asked = holes.plan(broken, PATIENCE_MS).length;
    const twice = holes.plan(broken, 60000).length; holes.unanswered("g:1", 60000);
    const settles = []; let now = 120000;
    for (let i = 0; i < TRIES; i += 1) {
      holes.plan(broken, now); settles.push(holes.answered("g:1", false, now)); now += 60000;
    }
    return [early, asked, twice, settles]
    """
    assert run_js(OUTBOX + script) == [0, 1, 0, [False, False, False, True]]


def test_a_history_that_lags_behind_settles_no_hole(run_js: RunJs) -> None:
    """As long as it shows nothing, it is asked every five seconds, for ten minutes."""
    script = """
    const { Holes, LONGEST_PAUSE_MS, PATIENT_TRIES } = await import("/holes.js");
    const holes = new Holes(); const broken = [{id: "g:1", missingAfterSeq: 3}];
    let now = 0; holes.plan(broken, now);
    const settles = new Set(); let asked = 0;
    for (let i = 1; i < PATIENT_TRIES; i += 1) {
      now += LONGEST_PAUSE_MS; asked += holes.plan(broken, now).length;
      settles.add(holes.answered("g:1", true, now));
    }
    now += LONGEST_PAUSE_MS; holes.plan(broken, now);
    return [asked === PATIENT_TRIES - 1, [...settles], holes.answered("g:1", true, now)]
    """
    assert run_js(OUTBOX + script) == [True, [False], True]


def test_a_group_without_a_name_is_asked_again(run_js: RunJs) -> None:
    """Later each time, a few times: a history that lags behind refuses to know a new member."""
    script = """
    const { Names, PAUSE_MS, TRIES } = await import("/names.js");
    const names = new Names(); const group = {id: "g:1", kind: "group", name: null};
    const others = [{id: "g:2", kind: "group", name: "Book club"}, {id: "d:a:b", kind: "direct", name: null}];
    const asked = [];
    for (let now = 0; now < PAUSE_MS * 1000; now += PAUSE_MS / 2) {
      for (const id of names.plan([group, ...others], now)) asked.push([id, now / PAUSE_MS]);
    }
    return [asked.slice(0, 4), asked.length === TRIES]
    """
    assert run_js(script) == [[["g:1", 0], ["g:1", 1], ["g:1", 3], ["g:1", 7]], True]


def test_a_name_that_is_refused_at_first_is_learnt(run_js: RunJs) -> None:
    """A pong's heads tell of a group whose first event is not stored yet: nobody shows its id for a name."""
    script = """
    const { Chat } = await import("/chat.js"); const { PAUSE_MS } = await import("/names.js");
    const frames = []; const storage = {outboxEntries: () => []};
    const chat = new Chat({me: "carol", storage, transmit: (frame) => frames.push(frame), changed: () => {}});
    const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
    const reply = async (frame, now) => { chat.receive(frame, now); await turn(); };
    await reply({type: "welcome", resumed: false}, 0);
    const page = {type: "ok", re: frames[0].id, messages: [], conversations: [], token: "t", more: false};
    await reply(page, 0);
    await reply({type: "pong", token: "t", heads: {"g:1": 3}}, 0);
    const infos = () => frames.filter(({type}) => type === "group.info");
    const [refused] = infos();
    await reply({type: "error", re: refused.id, code: 1101, name: "not_a_member", temporary: false}, 0);
    chat.tick(PAUSE_MS - 1); const early = infos().length;
    chat.tick(PAUSE_MS); const [, again] = infos();
    await reply({type: "ok", re: again.id, name: "Book club"}, PAUSE_MS);
    chat.tick(PAUSE_MS * 100);
    return [early, infos().length, chat.store.conversation("g:1").name]
    """
    assert run_js(script) == [1, 2, "Book club"]
