"""A conversation as lines of a terminal."""

from __future__ import annotations

from gateway.client import events
from gateway.client.transcript import Transcript
from schemas.frames import Message


def a_message(seq: int, sender: str, text: str, conversation_id: str = "d:alice:bob") -> Message:
    return Message(
        conversation_id=conversation_id,
        seq=seq,
        message_id=str(seq),
        client_msg_id=str(seq),
        sender=sender,
        kind="text",
        content={"text": text},
        sent_at_ms=0,
    )


def alices() -> Transcript:
    transcript = Transcript("d:alice:bob")
    transcript.signed_in("alice")
    return transcript


def test_messages_of_this_conversation_are_shown() -> None:
    """Others are named, own messages carry ticks, and other conversations stay out."""
    transcript = alices()
    shown = [
        transcript.line_of(events.MessageNew(message))
        for message in (
            a_message(1, "bob", "hi"),
            a_message(2, "alice", "hello"),
            a_message(1, "carol", "psst", "d:alice:carol"),
        )
    ]
    assert [line and line[6:] for line in shown] == ["bob: hi  #1", "you ✓✓: hello  #2", None]


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A message cannot move the cursor, clear the screen or forge a line."""
    line = alices().line_of(events.MessageNew(a_message(1, "bob", "a\x1b[2Jb\nc")))
    assert line is not None
    assert line.endswith("bob: a [2Jb c  #1")


def test_a_read_receipt_is_told_when_it_covers_the_newest_own_message() -> None:
    """Receipts of older messages, and own ones from other devices, say nothing new."""
    transcript = alices()
    transcript.line_of(events.MessageNew(a_message(5, "alice", "hello")))
    lines = [
        transcript.line_of(events.ReceiptMoved("d:alice:bob", user, None, seq))
        for user, seq in (("bob", 4), ("alice", 5), ("bob", 5))
    ]
    assert lines == [None, None, "  ✓✓ bob read up to #5"]


def test_a_refused_send_says_why() -> None:
    """The reason and its code stand in the line."""
    refused = events.MessageRejected("m1", "d:alice:bob", 1201, "moderated", "a rule forbids it", False)
    assert alices().line_of(refused) == "  ✘ not sent: a rule forbids it (1201 moderated)"


def test_the_connection_is_told_too() -> None:
    """Losing the connection says when it is tried again."""
    offline = events.StateChanged("disconnected", code=1006, retry_in_s=3.2)
    assert alices().line_of(offline) == "— offline (1006), again in 3 s"
