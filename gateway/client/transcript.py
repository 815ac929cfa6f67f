"""A conversation as lines of a terminal. Pure: events in, lines out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.client import events
from gateway.client.events import Event
from schemas.frames import Message

__all__ = ["Transcript"]


class Transcript:
    """What `user` sees of one conversation. Own sends show ticks: ✓ kept, ✓✓ in its place, ✓✓ read."""

    def __init__(self, conversation_id: str) -> None:
        self._conversation_id = conversation_id
        self._user = ""
        self._newest_own = 0

    def signed_in(self, user: str) -> None:
        """Whose eyes these are; known once connected."""
        self._user = user

    def line_of(self, event: Event) -> str | None:
        """The line for an event; None for what this conversation does not show."""
        if isinstance(event, events.StateChanged):
            return _state_line(event)
        if getattr(event, "conversation_id", self._conversation_id) != self._conversation_id:
            return None
        match event:
            case events.MessageNew(message) if message.conversation_id == self._conversation_id:
                return self.line_of_message(message)
            case events.MessageAccepted() | events.MessageRejected() | events.ReceiptMoved():
                return self._tick_line(event)
            case events.MessageRecalled():
                return f"  {event.change.sender} took #{event.seq} back"
            case events.MessageUpdated():
                return f"  {event.change.sender} changed #{event.seq}: {_text(event.change.content)}"
            case events.ConversationUpdated(change=change) if change is not None:
                return f"  · {_event_text(change)}"
            case events.Gap():
                return f"  … #{event.from_seq} to #{event.to_seq} are not shown"
            case _:
                return None

    def line_of_message(self, message: Message) -> str:
        """A message: its time, who said it, and for own ones that it is in its place."""
        at = datetime.fromtimestamp(message.sent_at_ms / 1000).strftime("%H:%M")  # noqa: DTZ006 the reader's time
        own = message.sender == self._user
        if own:
            self._newest_own = max(self._newest_own, message.seq)
        what = "(taken back)" if message.recalled else _text(message.content)
        return f"{at} {'you ✓✓' if own else message.sender}: {what}  #{message.seq}"

    def _tick_line(
        self, event: events.MessageAccepted | events.MessageRejected | events.ReceiptMoved
    ) -> str | None:
        match event:
            case events.MessageAccepted():
                return "  ✓ kept"
            case events.MessageRejected():
                return f"  ✘ not sent: {event.message} ({event.code} {event.reason})"
            case events.ReceiptMoved():
                read_seq = event.read_seq or 0
                news = event.user_id != self._user and 0 < self._newest_own <= read_seq
                return f"  ✓✓ {event.user_id} read up to #{read_seq}" if news else None


def _state_line(event: events.StateChanged) -> str | None:
    match event.state:
        case "connected":
            return "— connected"
        case "disconnected":
            return f"— offline ({event.reason or event.code}), again in {event.retry_in_s or 0:.0f} s"
        case "closed":
            return f"— closed ({event.reason})"
        case _:
            return None


def _text(content: Any) -> str:
    """What can be shown of a content; control characters of others do not reach the terminal."""
    inner = content.get("content", content) if isinstance(content, dict) else content
    text = inner.get("text") if isinstance(inner, dict) else None
    shown = text if isinstance(text, str) else str(inner)
    return "".join(letter if letter.isprintable() else " " for letter in shown)


def _event_text(message: Message) -> str:
    content = message.content if isinstance(message.content, dict) else {}
    who = ", ".join(str(user) for user in content.get("users", ()))
    return _text(
        {"text": f"{message.sender}: {content.get('action', message.kind)} {content.get('name') or who}"}
    )
