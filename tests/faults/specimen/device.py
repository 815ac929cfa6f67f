"""A toy client on the toy path: logs as a harness client would, and behaves as the protocol asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from schemas.codes import Code
from tests.faults import history
from tests.faults.dumps import MessageRow
from tests.faults.history import Row, Seen, canary, digest
from tests.faults.specimen.path import Ask, Connection, Path, Placed, Rejection

__all__ = ["Device", "seen_of"]

_PAGE: Final = 50
ACK_EVERY: Final = 0.8


def seen_of(row: MessageRow) -> Seen:
    """A stored message as a page shows it."""
    return Seen(
        row.conversation,
        row.seq,
        row.sender,
        row.client_msg_id,
        row.kind,
        row.digest,
        row.recalled,
        row.edited,
    )


def delivered(placed: Placed) -> Seen:
    ask = placed.ask
    return Seen(
        ask.conversation, placed.seq, ask.sender, ask.client_msg_id, ask.kind, digest(ask.content),
        target=ask.target,
    )  # fmt: skip


class Device(Connection):
    """One client: `online`, or cut with its session waiting, or gone. `routed` False: fan-out has lost it."""

    def __init__(self, path: Path, name: str, user: str, gateway: str, *, sdk: bool = False) -> None:
        self.path, self.name, self.user, self.gateway, self.sdk = path, name, user, gateway, sdk
        self.session = ""
        self.online = False
        self.routed = True
        self.n = 0
        self.window: list[tuple[int, Placed]] = []
        self.token = ""
        self.seen: dict[str, set[int]] = {}
        self.newest: dict[str, int] = {}
        self.open: dict[str, Ask] = {}
        self._count = 0
        self.log(history.Client, user=user, sdk=sdk)
        path.devices.append(self)

    def log(self, event: Any, **fields: Any) -> None:
        self.path.t += self.path.rng.uniform(0.0005, 0.004)
        self.path.history.events.append(
            event(t=round(self.path.t, 6), client=self.name, session=self.session, **fields)
        )

    def name_of_next(self) -> str:
        self._count += 1
        return f"{self.name}.{self._count}"

    # Connections

    def connect(self) -> None:
        """A new session: what happened before comes by sync."""
        self.session, self.n, self.window, self.newest = self.name_of_next(), 0, [], {}
        self.log(history.Connect, gateway=self.gateway)
        self.log(history.Welcome, gateway=self.gateway, resumed=False)
        self.online = self.routed = True
        self.sync()
        self.resend()

    def cut(self) -> None:
        """The socket breaks: what has no answer has an open outcome."""
        self.online = False
        for client_msg_id, ask in self.open.items():
            request = {"request": ask.request} if ask.request else {"client_msg_id": client_msg_id}
            self.log(history.Unknown, **request, why="closed")
        self.open = {name: ask for name, ask in self.open.items() if not ask.request}
        self.log(history.Closed)

    def resume(self) -> None:
        """The session goes on: unacknowledged deliveries come again with their old n."""
        self.log(history.Connect, gateway=self.gateway, resume=self.session)
        self.log(history.Welcome, gateway=self.gateway, resumed=True)
        self.online = True
        for n, placed in self.path.unacknowledged(self.window):
            self.receive(n, placed)
        self.resend()

    def resend(self) -> None:
        for ask in list(self.open.values()):
            self.attempt(replace(ask, session=self.session, message_id=self.name_of_next()), again=True)

    # Up

    def send(self, conversation: str, kind: str = "text", target: int = 0, **content: Any) -> Ask:
        """Something new, with the canary in its text."""
        name = self.name_of_next()
        text = {"text": f"hello {canary(self.user, name)}"}
        match kind:
            case "text":
                content = {**text, **content}
            case "edit":
                content = {"seq": target, "content": text}
            case _:
                content = {"seq": target, **content}
        ask = Ask(
            conversation,
            self.user,
            name,
            kind,
            content,
            target,
            self.session,
            self.gateway,
            self.name_of_next(),
        )
        self.attempt(ask)
        return ask

    def attempt(self, ask: Ask, *, again: bool = False, arrives: bool = True) -> None:
        self.open[ask.client_msg_id] = ask
        content = 0 if ask.target else digest(ask.content)
        self.log(
            history.Send, client_msg_id=ask.client_msg_id, conversation=ask.conversation, kind=ask.kind,
            digest=content, target=ask.target, attempt=1 + again, forbidden="forbidden" in ask.content,
        )  # fmt: skip
        if arrives and self.path.publish(ask):
            self.log(history.Accepted, client_msg_id=ask.client_msg_id)

    def request(self, op: str, conversation: str, kind: str, **content: Any) -> None:
        """A group or member event, asked for without a client_msg_id."""
        request = self.name_of_next()
        self.log(
            history.Request, request=request, op=op, conversation=conversation,
            users=list(content.get("users", ())),
        )  # fmt: skip
        ask = Ask(
            conversation, self.user, f"r-{request}", kind, {"by": self.user, **content}, 0, self.session,
            self.gateway, self.name_of_next(), request,
        )  # fmt: skip
        self.open[ask.client_msg_id] = ask
        self.path.publish(ask)

    # Down

    def take_message(self, placed: Placed) -> None:
        ask = placed.ask
        if ask.session == self.session and self.session:
            if self.online:
                self.take_own(placed)
            return
        self.n += 1
        self.window.append((self.n, placed))
        if self.online:
            self.receive(self.n, placed)

    def take_own(self, placed: Placed) -> None:
        """The answer to an own send, or to an own request."""
        ask = placed.ask
        if ask.request:
            if self.open.pop(ask.client_msg_id, None) is not None:
                self.log(history.Answer, request=ask.request)
            return
        self.open.pop(ask.client_msg_id, None)
        self.log(
            history.Sent, client_msg_id=ask.client_msg_id, conversation=ask.conversation, seq=placed.seq,
            message_id=ask.message_id,
        )  # fmt: skip
        self.seen.setdefault(ask.conversation, set()).add(placed.seq)
        if self.sdk and placed.seq == self.newest.get(ask.conversation, 0) + 1:  # else its turn comes
            self.newest[ask.conversation] = placed.seq
            self.log(history.Saw, messages=[delivered(placed)])

    def take_rejection(self, rejection: Rejection) -> None:
        ask = rejection.ask
        if not self.online or self.open.pop(ask.client_msg_id, None) is None:
            return
        if ask.request:
            self.log(history.Answer, request=ask.request, code=rejection.code)
        else:
            self.log(
                history.Rejected, client_msg_id=ask.client_msg_id, conversation=ask.conversation,
                code=rejection.code, temporary=rejection.code == Code.UNAVAILABLE,
            )  # fmt: skip

    def receive(self, n: int, placed: Placed) -> None:
        """A deliver frame on the wire."""
        message = delivered(placed)
        if self.sdk:
            self.show(message)
        else:
            self.log(history.Deliver, n=n, messages=[message])
            self.find_gap(message)
        self.seen.setdefault(message.conversation, set()).add(message.seq)
        self.newest[message.conversation] = max(self.newest.get(message.conversation, 0), message.seq)
        if self.path.rng.random() < ACK_EVERY:
            self.acknowledge(n)

    def show(self, message: Seen) -> None:
        if message.seq > self.newest.get(message.conversation, 0):
            self.log(history.Saw, messages=[message])

    def acknowledge(self, n: int) -> None:
        acked = [placed for at, placed in self.window if at <= n]
        self.window = [(at, placed) for at, placed in self.window if at > n]
        self.log(history.Acked, n=n)
        for conversation in sorted({placed.ask.conversation for placed in acked}):
            seq = max(placed.seq for placed in acked if placed.ask.conversation == conversation)
            self.path.publish_receipt(self.user, conversation, -1, seq)

    def find_gap(self, message: Seen) -> None:
        """A jump in the seqs of this session: what is unknown is pulled."""
        before = self.newest.get(message.conversation)
        seen = self.seen.get(message.conversation, set())
        lacking = [] if before is None else [s for s in range(before + 1, message.seq) if s not in seen]
        if lacking:
            self.tell_gap(message.conversation, lacking)
            self.read_history(message.conversation, before=message.seq)

    def tell_gap(self, conversation: str, lacking: Sequence[int]) -> None:
        self.log(history.Gap, conversation=conversation, first=lacking[0], last=lacking[-1])

    # Questions

    def sync(self) -> None:
        request, asked_t = self.name_of_next(), self.path.t
        self.log(history.SyncAsked, request=request, token=self.token)
        since = int(self.token or 0)
        rows = [self.path.read(*place) for place in self.path.changed_since(self.user, since)]
        pages = [rows[at : at + _PAGE] for at in range(0, len(rows), _PAGE)] or [[]]
        self.token = str(len(self.path.order))
        for place, page in enumerate(pages):
            messages = [seen_of(row) for row in page]
            self.log(
                history.Page, messages=messages, request=request, asked_t=asked_t, token=self.token,
                conversations=self.list_rows(messages), more=place < len(pages) - 1,
            )  # fmt: skip
            self.learn(messages)

    def list_rows(self, messages: list[Seen]) -> list[Row]:
        names = dict.fromkeys(message.conversation for message in messages)
        return [Row(n, self.path.heads[n], self.path.listed_cursor(self.user, n)) for n in names]

    def learn(self, messages: list[Seen]) -> None:
        for message in messages:
            if self.sdk:
                self.show(message)
                self.newest[message.conversation] = max(self.newest.get(message.conversation, 0), message.seq)
            self.seen.setdefault(message.conversation, set()).add(message.seq)

    def read_history(self, conversation: str, before: int = 0) -> None:
        """Newest first, page by page, down to the first."""
        more = True
        while more:
            asked_t, request = self.path.t, self.name_of_next()
            self.log(
                history.HistoryAsked, request=request, conversation=conversation, before=before, limit=_PAGE
            )
            end = before or self.path.heads.get(conversation, 0) + 1
            seqs = self.path.before(self.user, conversation, end, _PAGE + 1)
            messages = [seen_of(self.path.read(conversation, seq)) for seq in seqs[:_PAGE]]
            more = len(seqs) > _PAGE
            self.log(
                history.GotHistory, conversation=conversation, messages=messages, request=request,
                asked_t=asked_t, before=before, more=more,
            )  # fmt: skip
            before = messages[-1].seq if messages else 0
            self.seen.setdefault(conversation, set()).update(message.seq for message in messages)

    def settle(self) -> None:
        """The end of a run: sync, and fill every hole."""
        if not self.online:
            self.connect()
        else:
            self.sync()
        for conversation in sorted(self.path.stays_of(self.user)):
            first = min((f for f, _ in self.path.stays(conversation)[self.user]), default=0)
            seen = self.seen.get(conversation, set())
            if any(seq not in seen for seq in range(max(first, 1), self.path.heads.get(conversation, 0) + 1)):
                self.read_history(conversation)
        self.log(history.Settled)
