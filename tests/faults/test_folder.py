"""The files of a run come back as they were written, also those of a harness that was killed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.dumps import MessageRecord, OutboundRecord
from tests.faults.folder import TABLE_ROWS, TOPIC_RECORDS, Folder, topic_record
from tests.faults.history import (
    EMPTY,
    Client,
    ClientEvent,
    Deliver,
    Run,
    Seen,
    canaries,
    canary,
    digest,
    strays,
)


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Each client's events keep their order, through several files."""
    folder = Folder(tmp_path / "run")
    folder.write_run(Run(run="r", started_t=1.5, ended_t=2.5, started_unix_ms=3))
    seen = Seen("g:tea", 3, "alice", "a3", "text", 7)
    events: list[ClientEvent] = [
        Client(t=1.5, client="bob-1", user="bob"),
        Deliver(t=1.6, client="bob-1", session="s", n=1, messages=[seen]),
    ]
    for part in ("0", "1"):
        with folder.clients(part) as log:
            for event in events:
                log.write(event)
    folder.dump("topics/im.messages", [MessageRecord(partition=2, offset=9, seq=3)])
    folder.dump("topics/im.outbound.gw-1", [OutboundRecord(partition=0, offset=0, kind="message")])
    assert folder.run().started_t == 1.5
    assert list(folder.client_events()) == [*events, *events]
    assert list(folder.topic("im.messages")) == [MessageRecord(partition=2, offset=9, seq=3)]
    assert folder.outbound_topics() == ["im.outbound.gw-1"]
    assert list(folder.table("messages")) == []


def test_a_log_that_was_cut_short_is_true_up_to_there(tmp_path: Path) -> None:
    """A line without its end is left; a compressed file reads like a plain one."""
    folder = Folder(tmp_path)
    with folder.clients() as log:
        for n in (1, 2):
            log.write(Deliver(t=n, client="bob-1", n=n, messages=[]))
    whole = (tmp_path / "clients.jsonl").read_bytes()
    (tmp_path / "clients.jsonl").write_bytes(whole[:-9])
    assert [event.t for event in folder.client_events()] == [1]
    (tmp_path / "clients.jsonl").rename(tmp_path / "kept")
    (tmp_path / "clients.jsonl.gz").write_bytes(gzip.compress(whole))
    assert [event.t for event in folder.client_events()] == [1, 2]


@pytest.mark.parametrize("shape", [*get_args(ClientEvent), *TOPIC_RECORDS.values(), *TABLE_ROWS.values()])
def test_later_versions_may_add_fields(shape: type[msgspec.Struct]) -> None:
    """A reader passes over fields that it does not know, so that the format can grow."""
    assert not shape.__struct_config__.forbid_unknown_fields
    assert topic_record("im.outbound.gw-1") is OutboundRecord


@given(st.lists(st.tuples(st.sampled_from(["alice", "b.o-b"]), st.sampled_from(["1", "a/b", "x}"]))))
def test_canaries_are_found_in_any_bytes(mids: list[tuple[str, str]]) -> None:
    """What a canary stands for is read back from text and bytes; a frame's own messages are no strays."""
    text = "noise ~ ".join(canary(*mid) for mid in mids) + " ~not one~"
    found = [f"{sender}/{cmid}" for sender, cmid in mids]
    assert canaries(text) == canaries(text.encode()) == found
    own = [Seen("g:tea", 1, sender, cmid, "text", 0) for sender, cmid in mids]
    assert strays(text, own) == []
    assert strays(text) == list(dict.fromkeys(found))


def test_equal_contents_have_equal_digests() -> None:
    """The order of keys does not count; an empty content has a digest of its own."""
    assert digest({"a": 1, "b": {"x": 2, "y": 3}}) == digest({"b": {"y": 3, "x": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest({}) == EMPTY != digest({"text": ""})
