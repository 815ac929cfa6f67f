"""The outbox: order, one end for each send, and a file that survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.client.errors import OutboxFull
from gateway.client.outbox import Outbox
from gateway.client.outbox_store import MemoryStore, Outgoing, SqliteStore
from schemas import frames
from schemas.errors import BadInput, Unavailable


def a_send(key: str, conversation_id: str = "d:alice:bob") -> frames.Send:
    return frames.Send(client_msg_id=key, conversation_id=conversation_id, kind="text", content={"text": key})


def keys(sends: list[Outgoing]) -> list[str]:
    return [send.client_msg_id for send in sends]


def test_only_the_first_of_a_conversation_goes() -> None:
    """The second send of a conversation waits for `accepted` of the first; other conversations do not."""
    outbox = Outbox(MemoryStore())
    for send in (a_send("a1"), a_send("a2"), a_send("b1", "g:team")):
        outbox.add(send)
    assert keys(outbox.take_ready(0.0, room=9)) == ["a1", "b1"]
    outbox.accepted("a1")
    assert keys(outbox.take_ready(0.0, room=9)) == ["a2"]


def test_room_bounds_what_goes() -> None:
    """No more sends go than the server lets wait for `accepted`."""
    outbox = Outbox(MemoryStore())
    for number in range(5):
        outbox.add(a_send(str(number), f"g:{number}"))
    assert len(outbox.take_ready(0.0, room=2)) == 2


def test_a_full_outbox_refuses() -> None:
    """Beyond its limit the outbox takes no send and stores none."""
    store = MemoryStore()
    outbox = Outbox(store, limit=1)
    outbox.add(a_send("a1"))
    with pytest.raises(OutboxFull):
        outbox.add(a_send("a2"))
    assert keys(store.load()) == ["a1"]


def test_an_id_on_its_way_is_taken() -> None:
    """The same client_msg_id cannot be on its way twice."""
    outbox = Outbox(MemoryStore())
    outbox.add(a_send("a1"))
    with pytest.raises(BadInput):
        outbox.add(a_send("a1"))


def test_finishing_twice_is_no_news() -> None:
    """A send ends once, whatever is told again."""
    outbox = Outbox(MemoryStore())
    outbox.add(a_send("a1"))
    outbox.take_ready(0.0, room=1)
    assert outbox.finish("a1") is not None
    assert outbox.finish("a1") is None
    assert len(outbox) == 0


def test_a_broken_connection_restores_the_order() -> None:
    """What was accepted or unanswered goes again before what had not gone yet."""
    outbox = Outbox(MemoryStore())
    for key in ("a1", "a2", "a3"):
        outbox.add(a_send(key))
    outbox.take_ready(0.0, room=1)
    outbox.accepted("a1")
    outbox.take_ready(0.0, room=1)
    outbox.disconnected()
    outbox.connected(resumed=True)
    again = []
    for _ in range(3):
        again += keys(outbox.take_ready(0.0, room=1))
        outbox.accepted(again[-1])
    assert again == ["a1", "a2", "a3"]


def test_a_new_session_looks_before_it_repeats() -> None:
    """On a new session a conversation with sends that may be stored waits until it was looked into."""
    outbox = Outbox(MemoryStore())
    outbox.add(a_send("a1"))
    outbox.take_ready(0.0, room=1)
    outbox.disconnected()
    outbox.connected(resumed=False)
    assert outbox.take_ready(0.0, room=1) == []
    assert outbox.take_doubtful(16) == ["d:alice:bob"]
    outbox.settle("d:alice:bob")
    assert keys(outbox.take_ready(0.0, room=1)) == ["a1"]


def test_a_file_keeps_order_and_kinds(tmp_path: Path) -> None:
    """Sends, edits, recalls and reactions come back from the file as they went in."""
    going: list[Outgoing] = [
        a_send("1"),
        frames.Edit(client_msg_id="2", conversation_id="g:x", seq=4, content={"text": "new"}),
        frames.Recall(client_msg_id="3", conversation_id="g:x", seq=4),
        frames.React(client_msg_id="4", conversation_id="g:x", seq=4, emoji="👍", add=True),
    ]
    store = SqliteStore(tmp_path / "outbox.db")
    for frame in going:
        store.add(frame)
    store.remove("3")
    store.close()
    again = SqliteStore(tmp_path / "outbox.db")
    assert again.load() == [frame for frame in going if frame.client_msg_id != "3"]
    again.close()


def test_a_file_has_one_user_at_a_time(tmp_path: Path) -> None:
    """A second client with the same file is refused while the first holds it."""
    first = SqliteStore(tmp_path / "outbox.db")
    with pytest.raises(Unavailable):
        SqliteStore(tmp_path / "outbox.db")
    first.close()


def test_a_file_belongs_to_one_account(tmp_path: Path) -> None:
    """alice's unsent messages are never sent as bob."""
    store = SqliteStore(tmp_path / "outbox.db")
    store.bind("alice")
    store.bind("alice")
    with pytest.raises(BadInput, match="alice"):
        store.bind("bob")
    store.close()


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    """A path that holds no database says so."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be looked at as one" * 20)
    with pytest.raises(Unavailable, match="notes"):
        SqliteStore(path)


def test_what_a_later_send_has_overtaken_ends() -> None:
    """Of what was transmitted before a send that has its place; what was not is still to go."""
    outbox = Outbox(MemoryStore())
    for key in ("a1", "a2", "a3"):
        outbox.add(a_send(key))
    for key in ("a1", "a2"):
        assert keys(outbox.take_ready(0.0, room=9)) == [key]
        outbox.accepted(key)
    outbox.disconnected()
    outbox.place("a2", 7)
    assert outbox.take_overtaken("d:alice:bob", 6) == []
    assert [entry.frame.client_msg_id for entry in outbox.take_overtaken("d:alice:bob", 7)] == ["a1"]
    assert [entry.frame.client_msg_id for entry in outbox] == ["a3"]
