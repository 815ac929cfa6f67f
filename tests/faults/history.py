"""What clients and faults did during a run: the events of a history, one JSON object a line.

A run is one folder (`folder.py` lists its files; `dumps.py` has what the engines held at its end):

    run.json            one `Run`
    clients*.jsonl      `ClientEvent`, any number of files; the lines of one client stand in one file, in
                        the order in which they happened to it
    nemesis.jsonl       `NemesisEvent`

`t` is the harness's one monotonic clock in seconds (CLOCK_MONOTONIC is the same for every process of a
machine). A line is written before the client does anything further, so a log that is cut short is still
true. An event says what a client put on the wire or took from it, unaltered: it is the checker's job to
judge, the harness's to write down. `f` says which event a line is; fields left out have their default.

Fields are only ever added, at the end and with a default.

**mid.** `sender/client_msg_id` names a message for as long as a run lasts: harnesses never use a
client_msg_id twice for different content, except to provoke 1202 on purpose (`Send.conflict`).

**canary.** Every text that a harness client says holds `canary(sender, client_msg_id)`, so the bytes of a
private message are recognised wherever they turn up. `strays(raw, messages)` gives what a frame holds
beyond the messages that were read from it; log it with each frame, whatever its type (`Other` if it has no
event of its own).

**digest.** Contents are compared by `digest(content)`, of the object, whatever its JSON looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import Struct

__all__ = [
    "EMPTY", "Accepted", "Acked", "Answer", "Began", "Client", "ClientEvent", "Closed", "Connect", "Deliver",
    "Gap", "GotHistory", "Healed", "Held", "HistoryAsked", "NemesisEvent", "Other", "Page", "Phase", "Pong",
    "Presence", "Read", "Receipt", "Rejected", "Request", "Row", "Run", "Saw", "Seen", "Send", "Sent",
    "Settled", "SyncAsked", "Typing", "TypingSaid", "Unknown", "Welcome", "canaries", "canary", "digest",
    "mid_of", "strays",
]  # fmt: skip


class Run(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run as a whole. `started_unix_ms` is the wall clock at `started_t`; `ended_t`: load and settling
    are over, dumps begin. `users` that are no harness clients may appear in dumps (0 checks on them)."""

    run: str
    started_t: float
    ended_t: float
    started_unix_ms: int
    seed: int = 0
    partitions: int = 0
    settings: dict[str, str] = {}
    commit: str = ""


# What clients log


class Seen(Struct, frozen=True, array_like=True, gc=False):
    """A message as it stood in a frame: an array, because most of a history is made of these.

    `sender` and `client_msg_id` are the mid; `digest` is of the content object in this frame (`EMPTY` after
    a recall). `target` is the seq that a recall, edit or reaction is about.
    """

    conversation: str
    seq: int
    sender: str
    client_msg_id: str
    kind: str
    digest: int
    recalled: bool = False
    edited: bool = False
    target: int = 0


class Row(Struct, frozen=True, array_like=True, gc=False):
    """A row of the conversation list in a page. `last` is the seq of its last_message, 0 for none."""

    conversation: str
    head: int
    read_seq: int
    unread: int = 0
    last: int = 0


class _Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="f", gc=False):
    t: float
    client: str
    """One device of one user, through all its connections: `Client.client`."""
    session: str = ""
    """The session of the connection it happened on; empty if none was given yet."""


class Client(_Event, frozen=True, kw_only=True, tag="client"):
    """The first line of each client. `reader`: it is expected to see all that its user may see (it syncs
    and fills holes in the end, then logs `Settled`). A stuck or hostile client is no reader."""

    user: str
    device: str = ""
    sdk: bool = False
    reader: bool = True


class Connect(_Event, frozen=True, kw_only=True, tag="connect"):
    """A connection was asked for; `resume` is the session it wants back. What follows is a Welcome, or a
    Closed with the HTTP status or the error as its reason."""

    gateway: str = ""
    resume: str = ""


class Welcome(_Event, frozen=True, kw_only=True, tag="welcome"):
    gateway: str
    resumed: bool


class Closed(_Event, frozen=True, kw_only=True, tag="closed"):
    """The connection is gone. `code` 0: refused or cut without a close. `ours`: the client closed it."""

    code: int = 0
    reason: str = ""
    ours: bool = False


class Send(_Event, frozen=True, kw_only=True, tag="send"):
    """An attempt of something that carries a client_msg_id: send, recall, edit, react. Each attempt has a
    line of its own. `digest` is of the content object sent (0 for what is no `send`), `target` the seq of
    recall, edit and reaction. `conflict`: other content under a
    used client_msg_id, on purpose; `forbidden`: content that the rules of the run reject, on purpose."""

    client_msg_id: str
    conversation: str
    kind: str = "text"
    digest: int = 0
    target: int = 0
    attempt: int = 1
    conflict: bool = False
    forbidden: bool = False


class Accepted(_Event, frozen=True, kw_only=True, tag="accepted"):
    client_msg_id: str


class Sent(_Event, frozen=True, kw_only=True, tag="sent"):
    client_msg_id: str
    conversation: str
    seq: int
    message_id: str = ""


class Rejected(_Event, frozen=True, kw_only=True, tag="rejected"):
    """`of_conflict`: it answers a Send with `conflict`, so it says nothing about the message itself."""

    client_msg_id: str
    conversation: str
    code: int
    temporary: bool = False
    of_conflict: bool = False


class Unknown(_Event, frozen=True, kw_only=True, tag="unknown"):
    """An attempt (`client_msg_id`) or a request (`request`) ended without an answer: timeout, closed …
    The outcome is open: it may have happened or may still happen. A later attempt may settle it; `final`:
    the client makes none."""

    client_msg_id: str = ""
    request: str = ""
    why: str = ""
    final: bool = False


class Request(_Event, frozen=True, kw_only=True, tag="request"):
    """Asked without a client_msg_id: group.create, group.add, group.remove, group.leave, group.role,
    group.mute, group.rename, conversation.block (`blocked`), presence.subscribe … `request` is the frame's
    `id`; `users` whom it is about."""

    request: str
    op: str
    conversation: str = ""
    users: list[str] = []
    blocked: bool = True


class Answer(_Event, frozen=True, kw_only=True, tag="answer"):
    """`ok` or `error` for a Request, HistoryAsked or SyncAsked. Code 0 is ok."""

    request: str
    code: int = 0
    temporary: bool = False
    strays: list[str] = []


class Deliver(_Event, frozen=True, kw_only=True, tag="deliver"):
    """A deliver frame as it came off the wire, retransmissions too."""

    n: int
    messages: list[Seen]
    strays: list[str] = []


class Saw(_Event, frozen=True, kw_only=True, tag="saw"):
    """What the SDK told its application, in its order: each message once, by rising seq, and no hole that
    no Gap told of. For clients with `Client.sdk`; raw clients log the frames themselves."""

    messages: list[Seen]


class Acked(_Event, frozen=True, kw_only=True, tag="ack"):
    """The client acknowledged all deliveries up to n."""

    n: int


class SyncAsked(_Event, frozen=True, kw_only=True, tag="sync"):
    """`token` empty: everything from the start."""

    request: str
    token: str = ""


class Page(_Event, frozen=True, kw_only=True, tag="page"):
    """`request`: the SyncAsked it answers; `asked_t`: when that was."""

    messages: list[Seen]
    request: str = ""
    asked_t: float = 0.0
    conversations: list[Row] = []
    token: str = ""
    more: bool = False
    reset: bool = False
    strays: list[str] = []


class HistoryAsked(_Event, frozen=True, kw_only=True, tag="ask_history"):
    request: str
    conversation: str
    before: int = 0
    after: int = -1
    limit: int = 0


class GotHistory(_Event, frozen=True, kw_only=True, tag="history"):
    """A history page, its messages as they stood in it. `asked_t`: when it was asked for; `before` and
    `after` are those of the request (0 and -1: not given)."""

    conversation: str
    messages: list[Seen]
    request: str = ""
    asked_t: float = 0.0
    before: int = 0
    after: int = -1
    more: bool = False
    strays: list[str] = []


class Gap(_Event, frozen=True, kw_only=True, tag="gap"):
    """The client was told, or saw by itself, that it lacks the seqs `first`…`last`, and knows to pull them.
    `by`: seq (a jump in deliveries), heads (a pong), page (a hole in a sync), sdk (the SDK's Gap)."""

    conversation: str
    first: int
    last: int
    by: str = "seq"


class Read(_Event, frozen=True, kw_only=True, tag="read"):
    conversation: str
    seq: int


class Receipt(_Event, frozen=True, kw_only=True, tag="receipt"):
    """A receipt frame; -1: it did not speak of that cursor."""

    conversation: str
    user: str
    delivered_seq: int = -1
    read_seq: int = -1
    strays: list[str] = []


class TypingSaid(_Event, frozen=True, kw_only=True, tag="typing_said"):
    conversation: str


class Typing(_Event, frozen=True, kw_only=True, tag="typing"):
    """A typing frame came: `user` writes."""

    conversation: str
    user: str
    strays: list[str] = []


class Presence(_Event, frozen=True, kw_only=True, tag="presence"):
    """A presence frame came: `user` is there, or not. It must have been subscribed to (Request with op
    presence.subscribe)."""

    user: str
    online: bool = True
    strays: list[str] = []


class Pong(_Event, frozen=True, kw_only=True, tag="pong"):
    heads: dict[str, int] = {}
    token: str = ""
    strays: list[str] = []


class Other(_Event, frozen=True, kw_only=True, tag="other"):
    """Any frame without an event of its own that holds strays, or whose bytes could not be read."""

    frame: str
    strays: list[str] = []


class Settled(_Event, frozen=True, kw_only=True, tag="settled"):
    """The load and the faults are over, the pipeline has caught up, and since then this client has synced
    to the end and filled every hole it knows of by history, down to its first seq. What its user may see
    and it has not seen by now is lost."""


ClientEvent = (
    Client | Connect | Welcome | Closed | Send | Accepted | Sent | Rejected | Unknown | Request | Answer
    | Deliver | Saw | Acked | SyncAsked | Page | HistoryAsked | GotHistory | Gap | Read | Receipt | TypingSaid
    | Typing | Presence | Pong | Other | Settled
)  # fmt: skip


# What faults did


class _NemesisEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="f"):
    t: float


class Phase(_NemesisEvent, frozen=True, kw_only=True, tag="phase"):
    """From here on the run is in this phase: warmup, load, settle, replay …"""

    name: str


class Began(_NemesisEvent, frozen=True, kw_only=True, tag="began"):
    """A fault is injected from here on. `fault` is its own name in the run, `kind` the row of the fault
    matrix (kill-gateway, stop-worker, flush-redis …), `target` what was hit."""

    fault: str
    kind: str
    target: str = ""
    details: str = ""


class Held(_NemesisEvent, frozen=True, kw_only=True, tag="held"):
    """Evidence that the fault really took hold: the pid is gone, the engine answers nothing, the packet
    counter moved … A fault without this line never took hold, and the run shows nothing about it."""

    fault: str
    evidence: str


class Healed(_NemesisEvent, frozen=True, kw_only=True, tag="healed"):
    """The cause is taken away (for a kill: the process is being started again, or never will be; an engine
    that was killed runs again)."""

    fault: str


NemesisEvent = Phase | Began | Held | Healed


# Canaries and digests

EMPTY: Final = 0
"""The digest of the empty content that a recalled message has."""

_CANARY: Final = re.compile(r"~([A-Za-z0-9._-]{1,64}/[!-}]{1,64})~")
_CANARY_BYTES: Final = re.compile(rb"~([A-Za-z0-9._-]{1,64}/[!-}]{1,64})~")
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def mid_of(sender: str, client_msg_id: str) -> str:
    """The name of a message for as long as the run lasts."""
    return f"{sender}/{client_msg_id}"


def canary(sender: str, client_msg_id: str) -> str:
    """What to put into the text of this message, so that its bytes are recognised anywhere."""
    return f"~{sender}/{client_msg_id}~"


def canaries(raw: str | bytes) -> list[str]:
    """The mids whose canaries stand in these bytes."""
    if isinstance(raw, bytes):
        return [mid.decode() for mid in _CANARY_BYTES.findall(raw)]
    return _CANARY.findall(raw)


def strays(raw: str | bytes, messages: Iterable[Seen] = ()) -> list[str]:
    """The canaries in a frame that are not those of the messages read from it, each once."""
    own = {mid_of(m.sender, m.client_msg_id) for m in messages}
    return [mid for mid in dict.fromkeys(canaries(raw)) if mid not in own]


def digest(content: Any) -> int:
    """A number for a content object: equal for equal objects, 0 (`EMPTY`) for an empty one."""
    return crc32(_encode(content)) or 1 if content else EMPTY
