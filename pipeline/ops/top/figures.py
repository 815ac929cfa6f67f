"""What `im top` shows, from two looks at every process and at the groups' offsets. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from infra.ports import Announced
from infra.telemetry.exposition import Look, Series, between, matching, quantile, total
from infra.telemetry.scrape import Seen
from pipeline.ops.accounts.audit import Account
from pipeline.ops.accounts.findings import Between

__all__ = ["GatewayFigures", "GroupFigures", "Offsets", "StageFigures", "Top", "Watch", "figures"]

_RANKS: Final = (0.5, 0.99)


class Offsets(msgspec.Struct, frozen=True):
    """A consumer group in its topic, by partition, at one moment (monotonic seconds)."""

    at: float
    topic: str
    committed: dict[int, int]
    ends: dict[int, int]


class Watch(msgspec.Struct, frozen=True):
    """One look at everything: the processes that answered, those that did not, the groups, the ledger's
    newest account, and what was said by engines that could not be asked."""

    seen: dict[Announced, Seen]
    silent: list[Announced]
    groups: dict[str, Offsets]
    account: Account | None = None
    away: list[str] = []


class StageFigures(msgspec.Struct, frozen=True):
    """A stage over all its workers. Times are of a message inside the stage; None: there was none.

    `errors_per_s`: dead letters and waits for an engine. `behind_s` None: nobody runs the stage.
    """

    stage: str
    workers: int
    messages_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    waiting: int
    behind_s: float | None
    errors_per_s: float


class GatewayFigures(msgspec.Struct, frozen=True):
    """A gateway. `p50_ms`, `p99_ms`: from a message's arrival at a gateway to its delivery's write here."""

    gateway: str
    ready: bool
    connections: int
    accepted_per_s: float
    delivered_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    loop_p99_ms: float | None


class GroupFigures(msgspec.Struct, frozen=True):
    """A consumer group by what it has committed. `still`: partitions with records and no movement."""

    group: str
    topic: str
    waiting: int
    committed_per_s: float
    still: list[int]


class Top(msgspec.Struct, frozen=True):
    """Everything, over the `seconds` between the two looks."""

    seconds: float
    stages: list[StageFigures]
    gateways: list[GatewayFigures]
    groups: list[GroupFigures]
    unaccounted: dict[Between, int]
    """By step, as the ledger's newest account says; empty if nobody keeps the books."""
    silent: list[Announced]
    away: list[str]


class _Risen(msgspec.Struct, frozen=True):
    """A process now, and what its counters rose by in how many seconds."""

    now: Look
    risen: Look
    seconds: float

    def per_s(self, name: str, **labels: str) -> float:
        return total(self.risen, name, **labels) / self.seconds


def figures(before: Watch, after: Watch, stages: Sequence[str]) -> Top:
    """What happened between the two looks. A process that came in between counts from its next look on."""
    risen: dict[Announced, _Risen] = {}
    seconds = [seen.at - before.seen[p].at for p, seen in after.seen.items() if p in before.seen]
    usual_s = max(1e-9, sum(seconds) / len(seconds)) if seconds else 1.0
    for process, seen in after.seen.items():
        old = before.seen.get(process)
        since_s = seen.at - old.at if old is not None else usual_s
        look = between(old.look if old is not None else seen.look, seen.look)
        risen[process] = _Risen(seen.look, look, max(1e-9, since_s))
    workers = [r for p, r in risen.items() if p.role == "worker"]
    gateways = {p.name: r for p, r in risen.items() if p.role == "gateway"}
    return Top(
        seconds=usual_s,
        stages=[_stage(name, workers) for name in stages],
        gateways=[_gateway(name, one) for name, one in sorted(gateways.items())],
        groups=[_group(n, before.groups.get(n), now) for n, now in after.groups.items()],
        unaccounted=after.account.unaccounted if after.account is not None else {},
        silent=after.silent,
        away=after.away,
    )


def _stage(name: str, workers: Sequence[_Risen]) -> StageFigures:
    mine = [w for w in workers if list(matching(w.now, "im_stage_lag_records", stage=name))]
    together: dict[Series, float] = {}
    for worker in workers:
        for series, value in worker.risen.items():
            if series[0] == "im_stage_duration_seconds_bucket":
                together[series] = together.get(series, 0.0) + value
    p50, p99 = (_ms(quantile(rank, together, "im_stage_duration_seconds", stage=name)) for rank in _RANKS)
    behind = [value for w in mine for _, value in matching(w.now, "im_stage_lag_seconds", stage=name)]
    return StageFigures(
        stage=name,
        workers=len(mine),
        messages_per_s=sum(w.per_s("im_stage_messages_total", stage=name) for w in workers),
        p50_ms=p50,
        p99_ms=p99,
        waiting=int(sum(total(w.now, "im_stage_lag_records", stage=name) for w in mine)),
        behind_s=max(behind, default=None),
        errors_per_s=sum(
            w.per_s("im_stage_messages_total", stage=name, result="dead_letter")
            + w.per_s("im_stage_retries_total", stage=name)
            for w in workers
        ),
    )


def _gateway(name: str, one: _Risen) -> GatewayFigures:
    p50, p99 = (_ms(quantile(rank, one.risen, "im_delivery_seconds")) for rank in _RANKS)
    return GatewayFigures(
        gateway=name,
        ready=total(one.now, "im_gateway_ready") == 1,
        connections=int(total(one.now, "im_gateway_connections")),
        accepted_per_s=one.per_s("im_gateway_accepted_total"),
        delivered_per_s=one.per_s("im_gateway_delivered_messages_total"),
        p50_ms=p50,
        p99_ms=p99,
        loop_p99_ms=_ms(quantile(0.99, one.risen, "im_loop_lag_seconds")),
    )


def _group(name: str, before: Offsets | None, now: Offsets) -> GroupFigures:
    waiting = {p: max(0, end - now.committed.get(p, 0)) for p, end in now.ends.items()}
    moved, seconds = dict.fromkeys(now.ends, 0), 1.0
    if before is not None:
        seconds = max(1e-9, now.at - before.at)
        moved = {p: now.committed.get(p, 0) - before.committed.get(p, 0) for p in now.ends}
    return GroupFigures(
        group=name,
        topic=now.topic,
        waiting=sum(waiting.values()),
        committed_per_s=sum(moved.values()) / seconds,
        still=sorted(p for p, count in waiting.items() if count and not moved[p] and before is not None),
    )


def _ms(seconds: float | None) -> float | None:
    return seconds * 1000 if seconds is not None else None
