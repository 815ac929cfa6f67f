"""Whose texts may stand in which frame, beside the messages it is made of."""

from __future__ import annotations

import pytest

from tests.faults.checker.accounts import Accounts
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import read_index
from tests.faults.checker.people import People
from tests.faults.checker.strays import Strays
from tests.faults.dumps import MessageRecord
from tests.faults.history import Client, Deliver, Page
from tests.faults.specimen.memory import MemoryHistory

CREATED = '{"action":"created","by":"ann","name":"x","members":["bob"]}'
REMOVED = '{"action":"removed","by":"ann","users":["bob"]}'


def a_message(seq: int, kind: str = "text", target: int = 0, event: str = "") -> MessageRecord:
    return MessageRecord(
        partition=0, offset=seq, source=seq, seq=seq, conversation="g:tea", sender="ann", kind=kind,
        client_msg_id=str(seq), target=target, event=event,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "mid", "broken"),
    [
        (Page(t=1.0, client="b", messages=[], strays=["ann/4"]), "an edit of what he could see", False),
        (Page(t=1.0, client="b", messages=[], strays=["ann/6"]), "an edit of what he could not", True),
        (Page(t=1.0, client="b", messages=[], strays=["ann/5"]), "a later text", True),
        (Deliver(t=1.0, client="b", n=1, messages=[], strays=["ann/4"]), "the edit itself", True),
    ],
)
def test_who_left_reads_his_messages_as_they_are_now(event: Page | Deliver, mid: str, broken: bool) -> None:
    """The history keeps the newest content; nothing else of what came after the leave is shown."""
    told, findings, people = MemoryHistory(), Findings(), People()
    told.topics["im.messages"] = [
        a_message(1, "group", event=CREATED), a_message(2), a_message(3, "member", event=REMOVED),
        a_message(4, "edit", target=2), a_message(5), a_message(6, "edit", target=5),
    ]  # fmt: skip
    index = read_index(told, findings)
    people.take_client(Client(t=0.0, client="b", user="bob"))
    Strays(people, index, Accounts(told, index, findings), findings).take(event)
    [outside] = [invariant for invariant in findings.result() if invariant.id == "I5"]
    assert bool(outside.broken) is broken, mid
