"""im.receipts → cursors in the history, and `receipt` frames for who should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from prometheus_client import Counter

from infra.clock import Clock
from infra.ports import Bus, HistoryStore, Outgoing, Record, Route, RouteTable
from infra.settings import Settings
from infra.together import look_up
from pipeline.batch import Batch
from pipeline.receipts.audience import Audience
from pipeline.receipts.cursors import Cursors
from pipeline.tenure import Term
from schemas.codec import OUTBOUND, RECEIPT
from schemas.errors import BadInput, ImError, Undecodable
from schemas.frames import JSON
from schemas.frames import Receipt as ReceiptFrame
from schemas.ids import conversation_kind, is_name
from schemas.records import EPHEMERAL_S, Outbound, Receipt
from schemas.tables import Cursor
from schemas.topics import outbound_topic

__all__ = ["Effects", "Notice", "Receipts", "address", "read_receipt"]

_DROPPED = Counter("im_receipts_dropped_total", "Cursors that somebody who is no member tried to move.")
_MAX_SEQ: Final = 2**53
_AT_START: Final = Cursor()


class Notice(msgspec.Struct, frozen=True, gc=False):
    """A frame for some users, on every connection but the one it came from."""

    frame: bytes
    users: Sequence[str]
    not_session_id: str = ""


@dataclass(slots=True)
class Effects:
    """What a batch comes to: cursors to store, and who hears of them."""

    term: Term | None
    began_at: float
    """When its batch began (monotonic s): what is known of the members is as of then."""
    moved: list[Receipt] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    @property
    def left_s(self) -> float:
        """For how long what it tells may be told: while the partition is this worker's for sure, and its
        members are those."""
        if self.term is None:
            return EPHEMERAL_S
        waited_s = self.term.tenure.clock.monotonic() - self.began_at
        return min(self.term.left_s, EPHEMERAL_S - waited_s)


@dataclass(slots=True)
class _Partition:
    audience: Audience
    cursors: Cursors = field(default_factory=Cursors)
    batch: Batch | None = None
    receipts: list[Receipt | ImError] = field(default_factory=list)


class Receipts:
    """`pipeline.batch.Stage`: merges cursors, stores them, and tells the others of small conversations.

    A cursor only rises, so order and repeats do not matter, and what is told of it does not fall either:
    who takes a partition over looks up what is stored before he tells of a cursor for the first time.
    Frames are ephemeral: who misses one finds the cursor in the next page of a sync. A worker that its group
    has not heard of for a session tells nobody of what it had begun: another may have told of more. Nor is
    anything told of a batch that waited for an engine for longer than 5 s: who was to hear may have left.
    Each frame carries a time by which its gateway knows when either is so: it may wait for the log first.
    """

    name = "receipts"

    def __init__(
        self, settings: Settings, bus: Bus, history: HistoryStore, routes: RouteTable, clock: Clock
    ) -> None:
        self._clock = clock
        self._max_members = settings.receipts_max_members
        self._bus = bus
        self._history = history
        self._routes = routes
        self._partitions: dict[int, _Partition] = {}

    async def startup(self) -> None:
        """Nothing is shared between partitions."""

    async def assign(self, partition: int, position: int) -> None:  # noqa: ARG002 - wherever it begins
        self._partitions[partition] = _Partition(Audience(self._history, self._max_members))

    def revoke(self, partition: int) -> None:
        self._partitions.pop(partition, None)

    async def load(self, batch: Batch) -> None:
        here = self._partitions[batch.partition]
        if here.batch is not batch:
            here.batch = batch
            here.receipts = [read_receipt(record) for record in batch.records]
        receipts = [receipt for receipt in here.receipts if isinstance(receipt, Receipt)]
        await here.audience.load(receipts, batch.began_at)
        await self._know(here, receipts)

    async def _know(self, here: _Partition, receipts: Sequence[Receipt]) -> None:
        """Look up the cursors that are not known yet: one query for each user."""
        wanted = here.cursors.unknown(r for r in receipts if here.audience.listeners(r) is not None)
        if not wanted:
            return
        stored = await look_up(wanted, lambda user_id: self._history.cursors(user_id, wanted[user_id]))
        for user_id, conversation_ids in wanted.items():
            for conversation_id in conversation_ids:
                here.cursors.know(user_id, conversation_id, stored[user_id].get(conversation_id, _AT_START))

    def plan(self, batch: Batch) -> Effects:
        here = self._partitions[batch.partition]
        own: list[Receipt] = []
        for record, receipt in zip(batch.records, here.receipts, strict=True):
            if isinstance(receipt, ImError):
                batch.bury(record, receipt)
            elif here.audience.listeners(receipt) is None:
                _DROPPED.inc()
            else:
                own.append(receipt)
        here.batch = None
        effects = Effects(batch.term, batch.began_at, here.cursors.raised(own))
        for receipt in effects.moved:
            effects.notices += _notices(receipt, here.audience.listeners(receipt) or ())
        return effects

    async def perform(self, effects: Effects) -> None:
        if not effects.moved:
            return
        await self._history.move_cursors(effects.moved)
        users = dict.fromkeys(user_id for notice in effects.notices for user_id in notice.users)
        routes = await self._routes.routes_of(list(users))
        left_s = effects.left_s
        if left_s >= 0:
            said_ms = self._clock.now_ms() - round(1000 * (EPHEMERAL_S - left_s))
            await self._bus.publish(address(effects.notices, routes, said_ms))


def address(notices: Sequence[Notice], routes: Mapping[str, Sequence[Route]], said_ms: int) -> list[Outgoing]:
    """One record for each notice and each gateway that has a connection of somebody who hears it.

    `said_ms`: the time they carry. A gateway hands nothing out that is older than `EPHEMERAL_S`.
    """
    out: list[Outgoing] = []
    for notice in notices:
        users_at: dict[str, list[str]] = {}
        for user_id in notice.users:
            for gateway_id in dict.fromkeys(route.gateway_id for route in routes.get(user_id, ())):
                users_at.setdefault(gateway_id, []).append(user_id)
        for gateway_id, users in users_at.items():
            outbound = Outbound(
                kind="frame",
                body=notice.frame,
                users=users,
                not_session_id=notice.not_session_id,
                ephemeral=True,
            )
            value = OUTBOUND.encode(outbound)
            out.append(Outgoing(outbound_topic(gateway_id).name, 0, value, timestamp_ms=said_ms))
    return out


def _notices(receipt: Receipt, listeners: Sequence[str]) -> list[Notice]:
    """Both cursors for the others, the read one for the user's own other devices."""
    notices = []
    if listeners:
        notices.append(Notice(_frame(receipt, receipt.delivered_seq), listeners))
    if receipt.read_seq >= 0:
        notices.append(Notice(_frame(receipt, -1), [receipt.user_id], receipt.session_id))
    return notices


def _frame(receipt: Receipt, delivered_seq: int) -> bytes:
    return JSON.encode(
        ReceiptFrame(
            conversation_id=receipt.conversation_id,
            user_id=receipt.user_id,
            delivered_seq=delivered_seq if delivered_seq >= 0 else None,
            read_seq=receipt.read_seq if receipt.read_seq >= 0 else None,
        )
    )


def read_receipt(record: Record) -> Receipt | ImError:
    """A receipt that a gateway may have written, or what is wrong with the record."""
    try:
        receipt = RECEIPT.decode(record.value)
        _check(receipt, record.key)
    except (Undecodable, BadInput) as error:
        return error
    return receipt


def _check(receipt: Receipt, key: bytes | None) -> None:
    """Raises `BadInput` for what no gateway would write."""
    if key != receipt.conversation_id.encode():
        raise BadInput("the record's key is not its conversation_id")
    conversation_kind(receipt.conversation_id)
    if not is_name(receipt.user_id) or not is_name(receipt.session_id or "-"):
        raise BadInput("a user or session id out of shape")
    if not (-1 <= receipt.delivered_seq <= _MAX_SEQ and -1 <= receipt.read_seq <= _MAX_SEQ):
        raise BadInput("a seq out of range")
