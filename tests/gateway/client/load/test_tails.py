"""Deliveries that many members get are recognised."""

from __future__ import annotations

from gateway.client.load.tails import TailBook
from gateway.client.load.wire import mark
from schemas.frames import JSON, Deliver, Message

RUN = "0123abcd"


def a_delivery(n: int, *seqs: int) -> bytes:
    messages = [
        Message(
            conversation_id="g:x",
            seq=seq,
            message_id=str(seq),
            client_msg_id=mark(RUN, 0, seq, 1_000 * seq),
            sender="bob",
            kind="text",
            content={"text": "hi"},
            sent_at_ms=0,
        )
        for seq in seqs
    ]
    return JSON.encode(Deliver(n=n, messages=messages))


def test_shared_tails_are_decoded_once() -> None:
    """Two members' frames that differ in `n` only are the same tail, and each arrival is timed."""
    book = TailBook(RUN)
    tails = []
    for n in (7, 12_345):
        data = b"before" + a_delivery(n, 4, 5) + b"after"
        cut = data.index(b",", data.index(b'"n":'))
        tail = book.find(data, cut, len(data) - len(b"after"), guess=0)
        tail.arrivals_us.append(6_000)
        tails.append(tail)
    assert tails[0] is tails[1]
    assert (tails[0].first, tails[0].last, tails[0].contiguous) == (4, 5, True)
    assert book.latencies_us(0, 10_000) == {2_000: 2, 1_000: 2}
    assert book.arrived(0, 10_000) == 4
