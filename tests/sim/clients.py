"""A device with the real client session on it, and an application that keeps what it is shown.

The shell does what `gateway/client/client.py` does, without a task: after each frame and at each
due time it lets the session work, and writes what the session wants written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.client import events
from gateway.client.backoff import RECONNECT
from gateway.client.outbox import Outbox
from gateway.client.outbox_store import MemoryStore, Outgoing
from gateway.client.session import ClientSession, Reply, Rules
from schemas import frames
from schemas.frames import JSON, ClientFrame
from tests.sim.gateways import Socket
from tests.sim.loop import Call, Process

if TYPE_CHECKING:
    from tests.sim.world import World

__all__ = ["Device"]

_RULES: Final = Rules(sync_limit=100)
_WELCOME_S: Final = 10.0
_TERMINAL: Final = range(4500, 5000)
Place = tuple[str, int]


class Device:
    """One device of one user, over all lives of its application.

    What survives a crash is the outbox and what the application was shown; with half of the devices also
    the token of their sync, the others begin from nothing.
    """

    def __init__(self, world: World, user: str, device_id: str) -> None:
        self.world = world
        self.user = user
        self.device_id = device_id
        self.store = MemoryStore()
        self.shown: dict[str, list[list[int]]] = {}
        """conversation → the seqs that came out, one list for each life."""
        self.received: dict[Place, frames.Message] = {}
        """Every message in any frame that ever came."""
        self.submitted: dict[str, list[str]] = {}
        """conversation → client_msg_ids in the order they were submitted."""
        self.ends: dict[str, list[events.MessageSent | events.MessageRejected]] = {}
        self.places: dict[str, set[int]] = {}
        """client_msg_id → every seq that any `sent` named."""
        self.read_up_to: dict[str, int] = {}
        self.cursors: dict[tuple[str, str], tuple[int, int]] = {}
        """(conversation, user) → the delivered and read cursors it was told of in this life."""
        self.listed_ms = 0
        """The last life that began with nothing was told of every conversation its user was in then, and of
        what came later; so were those that went on from its token. 0 until then."""
        self.faults: list[str] = []
        self.asking: dict[int, Callable[[Reply | None], None]] = {}
        self.stopped = False
        self._count = 0
        self._failures = 0
        self._keeps_token = world.rng.random() < 0.5
        self._token: str | None = None
        self._live()

    def _live(self) -> None:
        """A life of the application begins."""
        self.process = Process(self.world.loop, self.device_id, self.world.tell)
        token = self._token if self._keeps_token else None
        self.session = ClientSession(Outbox(self.store), self.world.rng.random, token, _RULES)
        self.socket: Socket | None = None
        self._timer: Call | None = None
        self._welcome_by: Call | None = None
        self._newest_n = 0
        self._is_new = token is None
        self.listed_ms = 0 if self._is_new else self.listed_ms
        for lives in self.shown.values():
            lives.append([])
        self.asking.clear()
        self.cursors.clear()
        self.process.after(0.2 * self.world.rng.random(), self._connect)

    # What happens to it

    def kill(self) -> None:
        """The application dies, and is started again."""
        self.process.kill()
        if self.socket is not None:
            self.socket.client_open = False
            self.socket.cut(now_server=self.world.rng.random() < 0.5)
        self.world.later(0.2 + 2 * self.world.rng.random(), self._live)

    def quit(self) -> None:
        """The application goes offline politely and comes back."""
        if self.socket is not None:
            self.socket.client_close(polite=True)
            self._gone()
            self.process.after(3 * self.world.rng.random(), self._connect)

    # What people do

    def submit(self, make: Callable[[str], Outgoing]) -> None:
        self._count += 1
        frame = make(f"{self.device_id}-{self._count}")
        self.submitted.setdefault(frame.conversation_id, []).append(frame.client_msg_id)
        self.session.submit(frame)
        self.work()

    def ask(self, make: Callable[[int], ClientFrame], then: Callable[[Reply | None], None]) -> None:
        """Ask for something; `then` gets the answer, or None when there will be none."""
        if not self.session.connected:
            self.process.after(0.0, then, None)
            return
        self.asking[self.session.request(make, self.world.loop.now)] = then
        self.work()

    def read(self, conversation_id: str, seq: int) -> None:
        self.read_up_to[conversation_id] = max(seq, self.read_up_to.get(conversation_id, 0))
        self.session.read(conversation_id, seq)
        self.work()

    # The connection

    def _connect(self) -> None:
        if self.socket is not None or self.stopped:
            return
        gateway = self.world.some_gateway()
        if gateway is None:
            self._try_again()
            return
        socket = self.socket = Socket(self.world, self, gateway)
        resume = self.session.session_id or ""
        self.world.loop.call_later(
            0.03 * self.world.rng.random(), gateway.connect, socket, resume, context=gateway.process.context
        )
        self._welcome_by = self.process.after(_WELCOME_S, self._not_welcome, socket)

    def _not_welcome(self, socket: Socket) -> None:
        if socket is self.socket and not self.session.connected:
            socket.client_close(polite=False)
            self._lost()

    def closed(self, socket: Socket, code: int) -> None:
        """The socket is gone."""
        if socket is not self.socket:
            return
        if code in _TERMINAL:
            self.stopped = True
            self.faults.append(f"closed for good with {code}")
        self._lost()

    def _lost(self) -> None:
        self._gone()
        self._try_again()

    def _gone(self) -> None:
        self.socket = None
        if self._welcome_by is not None:
            self._welcome_by.cancel()
        unanswered = self.session.disconnected(self.world.loop.now)
        for number in unanswered:
            if (then := self.asking.pop(number, None)) is not None:
                then(None)

    def _try_again(self) -> None:
        self._failures += 1
        wait_s = RECONNECT.delay_s(min(self._failures, 4), self.world.rng.random)
        self.process.after(wait_s, self._connect)

    # The session

    def take(self, socket: Socket, payload: bytes) -> None:
        """A frame came."""
        if socket is not self.socket:
            return
        frame = JSON.parse_server(payload)
        if self.world.traced:
            self.world.tell(f"{self.device_id} ← {socket.gateway.gateway_id} {payload.decode()}")
        self._look_at(frame)
        self.session.receive(frame, self.world.loop.now)
        for number, reply in self.session.take_replies():
            if (then := self.asking.pop(number, None)) is not None:
                then(reply)
        self.work()

    def _look_at(self, frame: frames.ServerFrame) -> None:
        """Keep what the invariants ask for."""
        match frame:
            case frames.Welcome():
                self._failures = 0
                self._newest_n = self._newest_n if frame.resumed else 0
            case frames.Deliver():
                if frame.n > self._newest_n + 1:
                    self.faults.append(f"delivery {frame.n} came after {self._newest_n}")
                self._newest_n = max(self._newest_n, frame.n)
            case frames.Page() if self._is_new and not frame.more:
                self._is_new = False
                self.listed_ms = frame.until_ms
            case frames.Sent():
                self.places.setdefault(frame.client_msg_id, set()).add(frame.seq)
            case _:
                pass
        if isinstance(frame, frames.Deliver | frames.Page | frames.HistoryPage):
            for message in frame.messages:
                self._note(message)

    def _note(self, message: frames.Message) -> None:
        place = (message.conversation_id, message.seq)
        before = self.received.setdefault(place, message)
        if before.message_id != message.message_id:
            self.faults.append(f"{place} is {before.message_id} and {message.message_id}")

    def work(self) -> None:
        """Let the session do what is due, write what it wants written, and come back in time."""
        if not self.process.alive:
            return
        now, session, socket = self.world.loop.now, self.session, self.socket
        if socket is not None and session.connected and now >= session.leave_at:
            socket.client_close(polite=False)
            self._lost()
            return
        session.tick(now)
        for event in session.take_events():
            self._show(event)
        self._token = session.kept_token
        if socket is not None and session.connected:
            for frame in session.frames_to_send():
                socket.up(frame)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = min(session.next_due(), session.leave_at)
        if due < float("inf"):
            self._timer = self.process.after(max(0.0, due - now) + 0.0005, self.work)

    def _show(self, event: events.Event) -> None:
        match event:
            case events.MessageNew():
                self._shown(event.message)
            case events.MessageUpdated() | events.MessageRecalled():
                self._shown(event.change)
            case events.ConversationUpdated(change=change) if change is not None:
                self._shown(change)
            case events.MessageSent() | events.MessageRejected():
                self.ends.setdefault(event.client_msg_id, []).append(event)
            case events.ReceiptMoved():
                self._moved(event)
            case events.Gap():
                self.faults.append(f"a gap: {event}")
            case _:
                pass

    def _moved(self, event: events.ReceiptMoved) -> None:
        """Somebody's cursors, as this device is told of them."""
        place = (event.conversation_id, event.user_id)
        delivered, read = self.cursors.get(place, (0, 0))
        now = (event.delivered_seq or delivered, event.read_seq or read)
        if now[0] < delivered or now[1] < read:
            self.faults.append(f"the cursors of {place} went back from {delivered, read} to {now}")
        self.cursors[place] = now

    def _shown(self, message: frames.Message) -> None:
        self.shown.setdefault(message.conversation_id, [[]])[-1].append(message.seq)
