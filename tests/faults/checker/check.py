"""All passes over one history, in the order in which they need each other."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from tests.faults.checker.accounts import Accounts
from tests.faults.checker.availability import Availability, measure
from tests.faults.checker.ephemeral import check_never_kept
from tests.faults.checker.faults import Faults
from tests.faults.checker.findings import CORE, Findings, Invariant
from tests.faults.checker.index import Index, read_index
from tests.faults.checker.outbound import check_outbound
from tests.faults.checker.patience import Patience
from tests.faults.checker.progress import Progress
from tests.faults.checker.recovery import Recovery, recoveries
from tests.faults.checker.replay import check_replay
from tests.faults.checker.source import Source
from tests.faults.checker.strays import check_leaks
from tests.faults.checker.tables import check_tables
from tests.faults.checker.walk import Walk

__all__ = ["MINIMUM_OK", "Report", "Verdict", "check"]

MINIMUM_OK: Final = 10_000
"""Fewer sends that went well show too little."""
Verdict = Literal["valid", "invalid", "unknown"]


class Report(Struct, frozen=True, kw_only=True):
    """`unknown` says why the run shows too little; it is empty for `valid`. `counts`: what there was."""

    run: str
    verdict: Verdict
    unknown: list[str]
    counts: dict[str, int]
    partitions: dict[int, dict[str, int]]
    """inbound = sequenced + rejected + dead_lettered + duplicates, unless I9 is broken."""
    invariants: list[Invariant]
    availability: Availability
    recoveries: list[Recovery]
    slowdown_p50: float = 1.0
    slowdown_p99: float = 1.0
    """How many times as long work took as on a machine of its own; bounds in seconds were stretched by it."""


def check(source: Source, minimum_ok: int = MINIMUM_OK) -> Report:
    """Judge a history. Pure: nothing but the source is read, and the same history gives the same report.

    Raises `people.Malformed`, or what msgspec raises, for what is no history.
    """
    findings, faults, progress = Findings(), Faults(source), Progress(source)
    patience = Patience(source)
    index = read_index(source, findings)
    accounts = Accounts(source, index, findings)
    accounts.check()
    check_outbound(source, index, accounts, findings)
    check_never_kept(source, index, findings)
    check_leaks(source, accounts, findings)
    stored = check_tables(source, index, accounts, findings)
    walk = Walk(index, accounts, progress, patience, findings)
    walk.go(source, stored)

    run, counts = source.run(), _counts(walk, index, accounts, faults)
    shortcomings = [
        *check_replay(source, findings),
        *progress.check(faults, patience, findings),
        *accounts.short_dumps,
        *walk.liveness.settle(faults, run.ended_t),
    ]
    invariants = findings.result()
    unknown = [*_too_little(counts, minimum_ok, faults, invariants), *shortcomings]
    broken = any(invariant.broken for invariant in invariants)
    return Report(
        run=run.run,
        verdict="invalid" if broken else "unknown" if unknown else "valid",
        unknown=unknown,
        counts=counts,
        partitions={partition: dict(ends) for partition, ends in sorted(accounts.partitions.items())},
        invariants=invariants,
        availability=measure(walk.outcomes, index, walk.views.sights, faults, run.started_t, run.ended_t),
        recoveries=recoveries(faults, walk.returns, progress),
        slowdown_p50=round(patience.slowdown(0.5), 2),
        slowdown_p99=round(patience.slowdown(0.99), 2),
    )


def _counts(walk: Walk, index: Index, accounts: Accounts, faults: Faults) -> dict[str, int]:
    return {
        "events": walk.events,
        "clients": len(walk.people.clients),
        "settled": len(walk.people.settled),
        "sends": len(walk.outcomes.by_mid),
        "ok": sum(outcome.ok for outcome in walk.outcomes),
        "refused": sum(outcome.failed for outcome in walk.outcomes),
        "messages": index.count,
        "conversations": len(index.conversations),
        "deliveries": len(walk.views.sights.times),
        "faults": len(faults.all),
        **accounts.counts,
    }


def _too_little(
    counts: dict[str, int], minimum_ok: int, faults: Faults, invariants: list[Invariant]
) -> list[str]:
    """Why a run that broke nothing still shows too little to be called valid."""
    reasons = []
    if counts["ok"] < minimum_ok:
        reasons.append(f"{counts['ok']} sends went well, {minimum_ok} are needed")
    for fault in faults.without_effect:
        what = f"{fault.kind} {fault.target}".strip()
        reasons.append(f"fault {fault.name} ({what}) never took hold")
    if not counts["settled"]:
        reasons.append("no client settled: nobody knows what arrived in the end")
    if not counts["deliveries"]:
        reasons.append("no message was delivered while anybody listened")
    looked_at = {invariant.id: invariant.looked_at for invariant in invariants}
    return reasons + [f"nothing to judge {name} by" for name in CORE if not looked_at[name]]
