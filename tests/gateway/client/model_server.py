"""A server in a few lines: one log per conversation, nothing twice; a cut loses what was on the wire.

Its two directions are queues that a test moves frame by frame, so any interleaving can be played.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from gateway.client.events import Event
from gateway.client.outbox import Outbox
from gateway.client.outbox_store import MemoryStore, OutboxStore
from gateway.client.session import ClientSession, Rules
from schemas import frames
from schemas.frames import ClientFrame, Message, ServerFrame

__all__ = ["CONVERSATIONS", "World"]

CONVERSATIONS = ("d:alice:bob", "d:alice:carol")
Verdict = Literal["ok", "busy", "refused"]


class World:
    """alice's client, the server, and the wire between them."""

    def __init__(self, store: OutboxStore | None = None, rules: Rules | None = None) -> None:
        self.now = 0.0
        self.store = store or MemoryStore()
        self.session = ClientSession(Outbox(self.store), jitter=lambda: 0.5, rules=rules)
        self.events: list[Event] = []
        self.logs: dict[str, list[Message]] = {key: [] for key in CONVERSATIONS}
        self.submitted: dict[str, list[str]] = {key: [] for key in CONVERSATIONS}
        self.verdicts: deque[Verdict] = deque()
        self._up: deque[ClientFrame] = deque()
        self._down: deque[ServerFrame] = deque()
        self._placed: dict[str, frames.Sent] = {}
        self._refused: set[str] = set()
        self._unacked: dict[int, list[Message]] = {}
        self._n = 0
        self._sessions = 0
        self.connected = False

    # The connection

    def connect(self, resume: bool = False) -> None:
        """Open a connection; a resumed session gets its unacked deliveries again."""
        if self.connected:
            return
        self.connected = True
        resumed = resume and self._sessions > 0
        if not resumed:
            self._sessions += 1
            self._n = 0
            self._unacked.clear()
        self._down.append(
            frames.Welcome(
                user_id="alice",
                session_id=f"session-{self._sessions}",
                gateway_id="gw-1",
                server_time_ms=0,
                heartbeat_s=30,
                resumed=resumed,
                limits=frames.Limits(65_536, 4, 20, 60),
            )
        )
        self._down.extend(frames.Deliver(n=n, messages=m) for n, m in sorted(self._unacked.items()))

    def cut(self) -> None:
        """Break the connection: what is on the wire is lost, in both directions."""
        if self.connected:
            self.connected = False
            self._up.clear()
            self._down.clear()
            self.session.disconnected(self.now)

    # What people do

    def submit(self, conversation_id: str, text: str) -> None:
        """alice sends; `text` doubles as client_msg_id."""
        self.submitted[conversation_id].append(text)
        self.session.submit(
            frames.Send(
                client_msg_id=text, conversation_id=conversation_id, kind="text", content={"text": text}
            )
        )

    def other_says(self, conversation_id: str, text: str, *, lost: bool = False) -> None:
        """The other user of a conversation says something; `lost`: its delivery never leaves the server."""
        message = self._place(conversation_id, conversation_id.split(":")[2], text, text)
        if not lost:
            self._deliver(message)

    # Time

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.tick()

    def tick(self) -> None:
        """Let the client do what is due and write it onto the wire."""
        self.session.tick(self.now)
        written = self.session.frames_to_send()
        if self.connected:
            self._up.extend(written)
        self.events += self.session.take_events()

    def move_up(self) -> None:
        """The server reads one frame."""
        if self._up:
            self._serve(self._up.popleft())

    def move_down(self) -> None:
        """The client reads one frame."""
        if self._down:
            self.session.receive(self._down.popleft(), self.now)
            self.events += self.session.take_events()

    def settle(self) -> None:
        """Stay connected until nothing moves any more and every wait has ended."""
        self.verdicts.clear()
        self.connect()
        end = self.now + 90
        while self.now < end:
            self.tick()
            while self._up or self._down:
                self.move_up()
                self.move_down()
                self.tick()
            self.now = min(max(self.session.next_due(), self.now), end)

    # The server

    def forget_ids(self) -> None:
        """The time in which a repeated client_msg_id is known is over."""
        self._placed.clear()

    def _serve(self, frame: ClientFrame) -> None:
        match frame:
            case frames.Send():
                self._take_send(frame)
            case frames.Ack(n=n):
                self._unacked = {key: m for key, m in self._unacked.items() if key > n}
            case frames.Sync():
                self._sync(frame)
            case frames.History(conversation_id=key, after_seq=after, limit=limit):
                log = self.logs[key]
                messages = log[-limit:][::-1] if after is None else log[after : after + limit]
                self._down.append(
                    frames.HistoryPage(conversation_id=key, messages=messages, more=False, re=frame.id)
                )
            case frames.Ping():
                heads = {key: len(log) for key, log in self.logs.items() if log}
                self._down.append(frames.Pong(server_time_ms=0, token="", heads=heads, re=frame.id))
            case _:
                pass

    def _take_send(self, frame: frames.Send) -> None:
        key = frame.client_msg_id
        verdict = self.verdicts.popleft() if self.verdicts else "ok"
        if verdict == "busy" and key not in self._placed:
            self._down.append(_rejected(frame, 1301, temporary=True))
            return
        self._down.append(frames.Accepted(client_msg_id=key, accepted_at_ms=0))
        if key in self._refused or (verdict == "refused" and key not in self._placed):
            self._refused.add(key)
            self._down.append(_rejected(frame, 1201, temporary=False))
            return
        if key not in self._placed:
            self._place(frame.conversation_id, "alice", key, key)
        self._down.append(self._placed[key])

    def _place(self, conversation_id: str, sender: str, client_msg_id: str, text: str) -> Message:
        log = self.logs[conversation_id]
        message = Message(
            conversation_id=conversation_id,
            seq=len(log) + 1,
            message_id=f"{conversation_id}/{len(log) + 1}",
            client_msg_id=client_msg_id,
            sender=sender,
            kind="text",
            content={"text": text},
            sent_at_ms=int(self.now * 1000),
        )
        log.append(message)
        self._placed[client_msg_id] = frames.Sent(
            client_msg_id=client_msg_id,
            conversation_id=conversation_id,
            seq=message.seq,
            message_id=message.message_id,
            sent_at_ms=message.sent_at_ms,
        )
        return message

    def _deliver(self, message: Message) -> None:
        if self._sessions == 0:
            return
        self._n += 1
        self._unacked[self._n] = [message]
        if self.connected:
            self._down.append(frames.Deliver(n=self._n, messages=[message]))

    def _sync(self, frame: frames.Sync) -> None:
        known = (
            [0] * len(CONVERSATIONS)
            if frame.token is None
            else [int(part) for part in frame.token.split("/")]
        )
        messages = [m for key, had in zip(CONVERSATIONS, known, strict=True) for m in self.logs[key][had:]]
        page = messages[:3]
        for message in page:
            known[CONVERSATIONS.index(message.conversation_id)] = message.seq
        token = "/".join(str(had) for had in known)
        more = len(messages) > len(page)
        self._down.append(
            frames.Page(messages=page, conversations=[], token=token, more=more, reset=False, re=frame.id)
        )


def _rejected(frame: frames.Send, code: int, temporary: bool) -> frames.Rejected:
    return frames.Rejected(
        client_msg_id=frame.client_msg_id,
        conversation_id=frame.conversation_id,
        code=code,
        name="",
        message="",
        temporary=temporary,
    )
