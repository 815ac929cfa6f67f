"""What the parts need from the engines: ports whose docstrings are the promises.

Each port has an engine behind it (`kafka.py`, `redis.py`, `cassandra.py`) and a memory twin
(`memory/`), and both pass the same checks in `tests/contracts/`. Every method raises `Unavailable`
when its engine cannot answer within the door's own bounds, and nothing else of the engine's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from schemas.records import Receipt
from schemas.tables import Cursor, HistoryRow, Membership, Row, StoredEvent

__all__ = [
    "Announced",
    "Attached",
    "Bus",
    "GatewayNotice",
    "Head",
    "HistoryStore",
    "Inbox",
    "LimitsNotice",
    "Outgoing",
    "Record",
    "Route",
    "RouteTable",
    "SharedLimits",
    "Subscription",
    "Suspension",
    "TenantDemand",
    "TenantLedger",
]


# The log


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A record to publish. Who publishes names the partition, so that one number follows a conversation."""

    topic: str
    partition: int
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None
    """The time it is to carry; None: that of its sending, which may come long after `publish` if the log is
    away. A topic that is stamped by the broker keeps neither."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Bus(Protocol):
    """Publishing to the log, and reading it without a group."""

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return once every record is acknowledged by all in-sync replicas.

        Order: records of one partition are kept in the order of the calls, also across calls that
        overlap. Repeats: a record may be written more than once when an outcome was unknown.
        Raises `BadInput` before anything is sent if a record exceeds `MAX_RECORD_BYTES`, and
        `OutcomeUnknown` when no acknowledgement came within the bound; then some may be written.
        """
        ...

    def partition_for(self, key: str) -> int:
        """The partition of a conversation: murmur2 of the key, as every Kafka client computes it."""
        ...

    async def read_range(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int | None,
        take: Callable[[Sequence[Record]], None],
    ) -> int:
        """Hand every record of [start, end) to `take`, in order, and return the offset after the last one.

        `end` None: up to the end as it stands when the call begins. A start before the log's
        beginning begins there. Commits nothing, belongs to no group.
        """
        ...

    def scan(
        self, topic: str, partition: int, start: int, end: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Record]]]:
        """As `read_range`, at the reader's own pace: runs of neighbouring records, oldest first.

        While a run is being handled the next ones are fetched, as many as one fetch brings. An `end`
        beyond the log's end means the end as it stands when the scan is opened.
        """
        ...

    async def offsets_at(self, topic: str, partition: int, time_ms: int) -> int:
        """The first offset whose record is not older than this time; the end if there is none."""
        ...

    async def ends(self, topic: str) -> dict[int, int]:
        """End offset of every partition."""
        ...

    async def beginnings(self, topic: str) -> dict[int, int]:
        """The first offset that is still there, of every partition."""
        ...

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """What a consumer group has committed; partitions without a commit are missing."""
        ...

    async def subscribe_end(self, topic: str) -> Subscription:
        """Read all partitions of a topic from their present ends on: the positions are fixed on return."""
        ...


class Subscription(Protocol):
    """A reader of one topic that belongs to no group."""

    async def next_records(self, timeout_s: float) -> Sequence[Record]:
        """Some records, oldest first, as soon as there are any; none after the timeout."""
        ...

    async def caught_up(self) -> bool:
        """Whether everything that was in the topic when this was called has been returned already."""
        ...

    async def close(self) -> None: ...


# Where users are, and what changed for them


class Route(msgspec.Struct, frozen=True):
    """One connection of a user. It is live while `gateway_id` holds its lease under `boot_id`."""

    device_id: str
    gateway_id: str
    boot_id: str
    session_id: str
    platform: str
    since_ms: int


class GatewayNotice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gateway says of itself with each renewal of its lease. Times and loads are its own."""

    gateway_id: str
    url: str
    """Where clients connect, as they reach it."""
    region: str
    state: Literal["open", "full", "draining", "drained"]
    """Only an open one takes new connections; a drained one was asked to stay empty."""
    weight: int
    """How much room it has, 1 to 1,000; 0 when it takes nobody."""
    connections: int
    max_connections: int
    memory_bytes: int = 0
    loop_lag_ms: int = 0


class Attached(msgspec.Struct, frozen=True):
    """Answer to an attach: the route that made room for it (of the same device, or the oldest of too many),
    and the user's large conversations, each with the seq of his joining: nothing before it is his to see."""

    replaced: Route | None
    large: dict[str, int]


class Head(msgspec.Struct, frozen=True):
    """The newest fanned-out message of a conversation."""

    seq: int
    at_ms: int


class Inbox(msgspec.Struct, frozen=True):
    """What changed for a user. `complete` False: the index was lost; restore it from the history first."""

    complete: bool
    changed: dict[str, int]
    """conversation → sent_at_ms of its newest message, newest first (write-diffusion)."""
    large: list[str]
    """Read-diffusion conversations of the user: ask `heads` whether they changed."""


class Announced(msgspec.Struct, frozen=True, order=True):
    """A process that runs, and where it serves /livez, /readyz and /metrics."""

    role: str
    name: str
    address: str


class RouteTable(Protocol):
    """Routes, inbox indexes and heads. Derived data: losing all of it loses no message."""

    # Leases and routes (gateways)

    async def take_lease(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> None:
        """Have the lease, whoever had it: from now on the routes of this boot id count. `notice` replaces
        the one before, and is good for as long as the lease."""
        ...

    async def renew_lease(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> bool:
        """Keep the lease. False: it is not there under this boot id (it expired, or the table was flushed),
        and is not taken: what went out meanwhile passed this gateway by, and its routes may be gone."""
        ...

    async def drop_lease(self, gateway_id: str, boot_id: str) -> None:
        """Give the lease up, if it is still ours: the gateway's routes are void at once."""
        ...

    async def attach(self, routes: Sequence[tuple[str, Route]]) -> list[Attached]:
        """Register (user, route) pairs; one route per device, the newer replaces the older. Beyond 64
        devices of a user it replaces the oldest of all. In order."""
        ...

    async def detach(self, routes: Sequence[tuple[str, Route]]) -> None:
        """Remove routes, each only if its session is still the registered one: late calls harm none."""
        ...

    async def live_gateways(self) -> dict[str, str]:
        """gateway id → boot id of every gateway that holds a lease; at most one second old."""
        ...

    async def gateways(self) -> list[GatewayNotice]:
        """The notices of the gateways that hold a lease, by id; one that gave none is missing."""
        ...

    async def routes_of(self, user_ids: Sequence[str]) -> dict[str, list[Route]]:
        """The live routes of users; users without one are missing."""
        ...

    # Who is there (gateways)

    async def watch(self, user_ids: Sequence[str], gateway_id: str) -> None:
        """This gateway wants to hear of these users, for an hour from now on."""
        ...

    async def note_seen(self, user_ids: Sequence[str], at_ms: int) -> dict[str, tuple[str, ...]]:
        """Devices of these users came or went; an earlier time changes nothing. Returns the live gateways
        that watch each user; users whom nobody watches are missing."""
        ...

    async def last_seen(self, user_ids: Sequence[str]) -> dict[str, int]:
        """When a device of a user last came or went (ms), for a month; users not known are missing."""
        ...

    # Fan-out

    async def index(
        self, touched: Mapping[str, Mapping[str, int]], heads: Mapping[str, Head]
    ) -> dict[str, tuple[str, ...]]:
        """Write-diffusion of a batch in one call per shard: for each user the conversations that changed
        (→ sent_at_ms; never lowered), for each conversation its head (never lowered). Returns the live
        gateways of each user that has one."""
        ...

    async def readers(self, conversation_id: str) -> tuple[str, ...] | None:
        """Live gateways that may hold a member of a large conversation; None: ask `fill_readers`."""
        ...

    # What is noted for a user goes by the seqs of the events alone: an event that comes again, late or in
    # another order, leaves the same; of leaves that holds for a day.

    async def fill_readers(self, conversation_id: str, members: Mapping[str, int]) -> tuple[str, ...]:
        """Make a conversation large: note it for every member (→ the seq of his joining), locate them all,
        return their gateways."""
        ...

    async def join_readers(self, conversation_id: str, users: Sequence[str], seq: int) -> tuple[str, ...]:
        """Members of a large conversation since this seq: note it for them; returns (and adds) their live
        gateways."""
        ...

    async def leave_readers(self, conversation_id: str, users: Sequence[str], seq: int) -> tuple[str, ...]:
        """Members that left a large conversation at this seq: forget it for those who have not joined again
        since; returns their live gateways."""
        ...

    async def add_reader(self, conversation_ids: Sequence[str], gateway_id: str) -> None:
        """This gateway holds a member of these large conversations now."""
        ...

    # Sync (gateways)

    async def inbox(self, user_id: str, since_ms: int) -> Inbox:
        """The conversations of a user with a message at or after this time."""
        ...

    async def restore_inbox(self, user_id: str, changed: Mapping[str, int], complete: bool) -> None:
        """Add entries read from the history (never lowering one); `complete`: nothing is missing any more."""
        ...

    async def pulse(self, users: Sequence[tuple[str, int]]) -> list[dict[str, int]]:
        """For each (user, since_ms): conversation → head seq of what changed at or after that time, the
        newest 100, large conversations included. One call per shard for all of them."""
        ...

    async def heads(self, conversation_ids: Sequence[str]) -> dict[str, Head]:
        """The heads that are known; missing: ask the history."""
        ...

    # Watermarks (stages write, gateways read)

    async def set_watermarks(self, stage: str, done: Mapping[int, int]) -> None:
        """Partition → every record of that partition up to this time (ms) is handled by the stage."""
        ...

    async def watermarks(self, stage: str) -> dict[int, int]:
        """Partition → watermark of one stage, as far as known."""
        ...

    async def watermark(self, stages: Sequence[str], partitions: int) -> int:
        """The lowest watermark of these stages over all partitions; 0 if one is unknown."""
        ...

    # Who runs (every process writes, `im top` reads)

    async def announce(self, process: Announced, ttl_s: float) -> None:
        """This process runs. It is forgotten unless it says so again within `ttl_s`."""
        ...

    async def announced(self) -> list[Announced]:
        """Every process that is not forgotten, sorted."""
        ...

    # Reports (services that watch the others write, operators read)

    async def put_report(self, name: str, report: bytes, ttl_s: float) -> None:
        """Keep the newest report of a service for a while; an earlier one is replaced."""
        ...

    async def report(self, name: str) -> bytes | None:
        """The newest report of a service; None if there is none, or it has expired."""
        ...

    # Stages that stopped on purpose (workers write, operators and probes read)

    async def report_stopped(self, stage: str, reason: str) -> None:
        """A worker has stopped this stage, and why. Forgotten after `STOPPED_KEPT_S` unless said again."""
        ...

    async def stopped(self) -> dict[str, str]:
        """Stage → why, of every stage that some worker has stopped."""
        ...


# The history


class HistoryStore(Protocol):
    """Messages for good. Every write is idempotent: its key and its write timestamp come from the log."""

    async def write(self, rows: Sequence[Row]) -> None:
        """Return once all rows are stored, those that change who may read (events) before messages."""
        ...

    async def page(
        self, conversation_id: str, *, before_seq: int | None = None, after_seq: int | None = None, limit: int
    ) -> list[HistoryRow]:
        """At most `limit` messages: newest first strictly before `before_seq` (None: from the newest), or
        oldest first strictly after `after_seq`. Costs the same whatever the conversation's length."""
        ...

    async def head(self, conversation_id: str) -> Head | None:
        """The newest stored message; None if there is none."""
        ...

    async def stored_ids(self, conversation_id: str, first_seq: int, last_seq: int) -> dict[int, str]:
        """seq → message id of every whole message from `first_seq` to `last_seq`, both included."""
        ...

    async def events(self, conversation_id: str) -> list[StoredEvent]:
        """Every membership event stored, oldest first: what `schemas.conversation.fold` takes."""
        ...

    async def conversations(self, user_id: str) -> list[Membership]:
        """Every conversation the user is or was in."""
        ...

    async def cursors(self, user_id: str, conversation_ids: Sequence[str] | None = None) -> dict[str, Cursor]:
        """The user's cursors by conversation; of these conversations only, unless it is None. Where nothing
        was ever moved or muted, there is none."""
        ...

    async def move_cursors(self, receipts: Sequence[Receipt]) -> None:
        """Raise cursors; one that stands higher already stays."""
        ...

    async def mute(self, user_id: str, conversation_id: str, muted: bool, at_ms: int) -> None:
        """Whether the user wants to be notified of this conversation; the latest `at_ms` wins."""
        ...


# What gateways share to limit what clients take


class Suspension(msgspec.Struct, frozen=True):
    """Who may not come in until then, by the store's clock, and why: `connects`, `sends` or `operator`."""

    since_ms: int
    until_ms: int
    reason: str


class LimitsNotice(msgspec.Struct, frozen=True):
    """What changed. `born` names the store's life: another one means that everything was lost.

    `suspended` and `quotas` are whole, or None when they are those of the version that was named.
    """

    now_ms: int
    born: str
    version: str
    suspended: dict[str, Suspension] | None
    quotas: dict[str, float] | None


class TenantDemand(msgspec.Struct, frozen=True):
    """What one gateway's clients ask of a tenant's quota. `used_total` only grows while `boot_id` stays."""

    quota_per_s: float
    used_total: int
    wanted_per_s: tuple[float, ...]
    """By priority, the first the highest."""


class TenantLedger(msgspec.Struct, frozen=True):
    """What all gateways ask, and what is left over from before (negative: too much was taken)."""

    credit: float
    wanted_per_s: dict[str, tuple[float, ...]]


class SharedLimits(Protocol):
    """Suspensions and quotas that all gateways see. Derived data: losing it lifts limits, loses no message.

    Every call may be repeated.
    """

    async def suspend(self, subjects: Mapping[str, tuple[int, str]]) -> None:
        """Subject (`user:…`, `ip:…`) → for how many ms from now, and why. The end is only ever moved
        later. At most 10,000 subjects are kept; beyond, new ones are left out."""
        ...

    async def lift(self, subject: str) -> bool:
        """End a suspension. False: there was none."""
        ...

    async def set_quota(self, tenant: str, per_s: float | None) -> None:
        """What a tenant may send in a second over all gateways, whatever settings say; None: as they say."""
        ...

    async def notice(self, version: str = "") -> LimitsNotice:
        """What holds now, if it is not what held at this version."""
        ...

    async def balance(
        self, gateway_id: str, boot_id: str, demands: Mapping[str, TenantDemand]
    ) -> dict[str, TenantLedger]:
        """Tell what is asked here and used here; learn what every gateway asked in the last seconds.

        A quota that is not used is left over for 300 ms and no longer."""
        ...
