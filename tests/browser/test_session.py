"""gateway/web/session.js: the life of a login over many sockets."""

from __future__ import annotations

import pytest

from tests.browser.conftest import RunJs

pytestmark = pytest.mark.browser

SESSION = """
const rules = await import("/session.js");
const welcome = () => ({type: "welcome", session_id: "s1", heartbeat_s: 30, resumed: false});
const deliver = (n) => ({type: "deliver", n, messages: []});
const connected = () => {
  const session = new rules.Session(() => 0.5);
  session.start(0);
  session.receive(welcome(), 0);
  session.take();
  return session;
};
"""


def test_waits_grow_and_stay_below_their_ceiling(run_js: RunJs) -> None:
    """A wait is any time up to 1, 2, 4 … seconds, never above 30 s."""
    script = "return [0, 1, 2, 10, 500].map((n) => [0, 1].map((random) => rules.retryDelayMs(n, random)))"
    waits = run_js(SESSION + script)
    assert waits == [[0, 1_000], [0, 2_000], [0, 4_000], [0, 30_000], [0, 30_000]]


@pytest.mark.parametrize("code", [1006, 1011, 4000, 4001, 4004])
def test_a_lost_socket_is_replaced(run_js: RunJs, code: int) -> None:
    """Every close code below 4500 is followed by another try."""
    script = f"const s = connected(); s.closed({code}, 10); s.tick(60000); return [s.state, s.take().length]"
    assert run_js(SESSION + script) == ["connecting", 1]


@pytest.mark.parametrize("code", [4500, 4502, 4504])
def test_a_refusal_is_final(run_js: RunJs, code: int) -> None:
    """From 4500 on nothing is tried by itself, not even when a network appears."""
    script = f"const s = connected(); s.closed({code}, 10); s.tick(60000); s.hurry(60001);"
    script += "return [s.state, s.take()]"
    assert run_js(SESSION + script) == ["closed", []]


def test_deliveries_are_acked_together_once(run_js: RunJs) -> None:
    """One ack names the highest delivery, within the promised delay, and is not repeated."""
    script = """
    const s = connected();
    s.receive(deliver(1), 100); s.receive(deliver(2), 200); s.receive(deliver(3), 300);
    s.tick(100 + rules.ACK_DELAY_MS - 1);
    const early = s.take();
    s.tick(100 + rules.ACK_DELAY_MS); s.tick(5000);
    return [early, s.take()]
    """
    early, late = run_js(SESSION + script)
    assert early == []
    assert late == [{"do": "send", "frame": {"type": "ack", "n": 3}}]


def test_a_retransmission_is_acked_again(run_js: RunJs) -> None:
    """A delivery that comes again was not acked for the server, so it is acked once more, cumulatively."""
    script = """
    const s = connected();
    s.receive(deliver(2), 0); s.tick(1000); s.take();
    s.receive(deliver(1), 2000); s.tick(3000);
    return s.take()
    """
    assert run_js(SESSION + script) == [{"do": "send", "frame": {"type": "ack", "n": 2}}]


def test_a_new_session_counts_deliveries_from_one(run_js: RunJs) -> None:
    """After a reconnect that did not resume, acks never name a number of the old session."""
    script = """
    const s = connected();
    s.receive(deliver(9), 0); s.closed(1006, 10); s.start(20); s.receive(welcome(), 30);
    s.take(); s.receive(deliver(1), 40); s.tick(2000);
    return s.take()
    """
    assert run_js(SESSION + script) == [{"do": "send", "frame": {"type": "ack", "n": 1}}]


def test_silence_is_found_and_cut(run_js: RunJs) -> None:
    """A ping goes out at each heartbeat; if nothing answers it in time the socket is given up."""
    script = """
    const s = connected();
    s.tick(30000); const ping = s.take();
    s.tick(30000 + rules.PONG_TIMEOUT_MS); const cut = s.take();
    return [ping, cut, s.state]
    """
    ping, cut, state = run_js(SESSION + script)
    assert ping == [{"do": "send", "frame": {"type": "ping"}}]
    assert (cut, state) == ([{"do": "close"}], "disconnected")


def test_any_frame_is_a_sign_of_life(run_js: RunJs) -> None:
    """A frame of any kind after a probe keeps the socket."""
    script = "const s = connected(); s.probe(0); s.receive(deliver(1), 100); s.tick(9000); return s.state"
    assert run_js(SESSION + script) == "connected"


def test_a_session_is_resumed_only_while_the_server_keeps_it(run_js: RunJs) -> None:
    """The session id is offered for less than 30 s after the cut, and never after a refusal."""
    script = """
    const offered = (code, wait, go) => {
      const s = connected(); s.closed(code, 0); s[go](wait); return s.take()[0].sessionId;
    };
    const limit = rules.RESUME_WINDOW_MS;
    return [...[10, limit - 1, limit].map((wait) => offered(1006, wait, "hurry")), offered(4502, 1, "start")]
    """
    assert run_js(SESSION + script) == ["s1", "s1", None, None]


def test_a_network_that_appears_ends_the_wait(run_js: RunJs) -> None:
    """`hurry` opens at once while waiting, and opens nothing while a try is under way."""
    script = """
    const s = connected(); s.closed(1006, 0); s.hurry(1); s.hurry(2);
    return s.take()
    """
    assert run_js(SESSION + script) == [{"do": "open", "sessionId": "s1"}]


def test_a_drained_gateway_is_left_at_the_time_it_names(run_js: RunJs) -> None:
    """After `drain` the session acks, leaves and connects again, and not before."""
    script = """
    const s = connected(); s.receive(deliver(4), 0); s.receive({type: "drain", reconnect_after_ms: 300}, 0);
    s.tick(299); const before = s.take(); s.tick(300);
    return [before, s.take().map((c) => c.do + (c.frame?.n ?? ""))]
    """
    assert run_js(SESSION + script) == [[], ["send4", "close", "open"]]
