"""All passes over one history, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from msgspec import Struct

from tests.faults import history
from tests.faults.checker.accounts import Accounts
from tests.faults.checker.availability import Availability, measure
from tests.faults.checker.ephemeral import Ephemeral, check_never_kept
from tests.faults.checker.faults import Faults
from tests.faults.checker.findings import CORE, Findings, Invariant
from tests.faults.checker.index import read_index
from tests.faults.checker.outbound import check_outbound
from tests.faults.checker.outcomes import Outcomes
from tests.faults.checker.people import People
from tests.faults.checker.progress import Progress
from tests.faults.checker.replay import check_replay
from tests.faults.checker.sockets import Sockets
from tests.faults.checker.source import Source
from tests.faults.checker.strays import Strays, check_leaks
from tests.faults.checker.tables import check_tables
from tests.faults.checker.views import Views

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
    invariants: list[Invariant]
    availability: Availability


def check(source: Source, minimum_ok: int = MINIMUM_OK) -> Report:
    """Judge a history. Pure: nothing but the source is read, and the same history gives the same report.

    Raises `people.Malformed`, or what msgspec raises, for what is no history.
    """
    findings, faults, progress = Findings(), Faults(source), Progress(source)
    index = read_index(source, findings)
    accounts = Accounts(source, index, findings)
    accounts.check()
    check_outbound(source, index, accounts, findings)
    stored = check_tables(source, index, accounts, findings)
    check_never_kept(source, index, findings)
    check_leaks(source, accounts, findings)
    one_sided = check_replay(source, findings)
    sampled = progress.check(faults, findings)

    people = People()
    outcomes = Outcomes(people, index, accounts, findings)
    views = Views(people, index, accounts, progress, findings)
    sockets = Sockets(people, views, findings)
    strays = Strays(people, index, accounts, findings)
    ephemeral = Ephemeral(people, index, findings)
    takers: dict[type, tuple[Callable[[Any], None], ...]] = {
        history.Client: (people.take_client,),
        history.Settled: (people.take_settled,),
        history.Welcome: (sockets.take_welcome,),
        history.Send: (outcomes.take_send,),
        history.Accepted: (outcomes.take_accepted,),
        history.Sent: (outcomes.take_sent, views.take_sent),
        history.Rejected: (outcomes.take_rejected,),
        history.Unknown: (outcomes.take_unknown,),
        history.Request: (ephemeral.take_request,),
        history.Answer: (strays.take,),
        history.Deliver: (sockets.take_deliver, views.take_deliver, strays.take),
        history.Saw: (sockets.take_saw, views.take_saw),
        history.SyncAsked: (sockets.take_sync,),
        history.Page: (sockets.take_page, views.take_page, strays.take),
        history.GotHistory: (sockets.take_history, views.take_history, strays.take),
        history.Gap: (sockets.take_gap,),
        history.Receipt: (sockets.take_receipt, ephemeral.take_frame, strays.take),
        history.Typing: (ephemeral.take_frame, strays.take),
        history.Presence: (ephemeral.take_presence, strays.take),
        history.Pong: (strays.take,),
        history.Other: (strays.take,),
    }
    events = 0
    for event in source.client_events():
        events += 1
        for take in takers.get(type(event), ()):
            take(event)
    outcomes.settle(stored)
    views.settle()
    sockets.settle()
    ephemeral.settle(views.state_seen_t)

    run = source.run()
    ok = sum(outcome.ok for outcome in outcomes)
    counts = {
        "events": events,
        "clients": len(people.clients),
        "settled": len(people.settled),
        "sends": len(outcomes.by_mid),
        "ok": ok,
        "refused": sum(outcome.failed for outcome in outcomes),
        "messages": index.count,
        "conversations": len(index.conversations),
        "deliveries": len(views.sights.times),
        "faults": len(faults.all),
        **accounts.counts,
    }
    invariants = findings.result()
    unknown = _too_little(counts, minimum_ok, faults, sampled, one_sided, invariants)
    broken = any(invariant.broken for invariant in invariants)
    return Report(
        run=run.run,
        verdict="invalid" if broken else "unknown" if unknown else "valid",
        unknown=unknown,
        counts=counts,
        invariants=invariants,
        availability=measure(outcomes, index, views.sights, faults, run.started_t, run.ended_t),
    )


def _too_little(
    counts: dict[str, int],
    minimum_ok: int,
    faults: Faults,
    sampled: bool,
    one_sided: list[str],
    invariants: list[Invariant],
) -> list[str]:
    """Every reason why this run cannot be called valid."""
    reasons = []
    if counts["ok"] < minimum_ok:
        reasons.append(f"{counts['ok']} sends went well, {minimum_ok} are needed")
    reasons += [
        f"fault {fault.name} ({fault.kind} {fault.target}) never took hold".replace(" )", ")")
        for fault in faults.without_effect
    ]
    if not counts["settled"]:
        reasons.append("no client settled: nobody knows what arrived in the end")
    if not counts["deliveries"]:
        reasons.append("no message was delivered while anybody listened")
    if not sampled:
        reasons.append("the samples of offsets do not show the recovery")
    reasons += [f"only one digest of {name}" for name in one_sided]
    looked_at = {invariant.id: invariant.looked_at for invariant in invariants}
    reasons += [f"nothing to judge {name} by" for name in CORE if not looked_at[name]]
    return reasons
