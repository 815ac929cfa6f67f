"""The checker finds every planted bug, for what it is, with a witness to go on."""

from __future__ import annotations

import pytest

from tests.faults.checker.check import Report, check
from tests.faults.history import Healed, Send, Unknown
from tests.faults.specimen import bugs_in_log, bugs_in_store, bugs_on_sockets
from tests.faults.specimen.bugs import BUGS, Bug
from tests.faults.specimen.bugs_on_sockets import SwallowedSend
from tests.faults.specimen.story import Story

_SHELVES = (bugs_in_log, bugs_in_store, bugs_on_sockets)
_ENOUGH = 50
_SEEDS = 30
_IDS = {"mid", "conversation", "partition", "client", "group", "of", "user"}
"""A witness names at least one of these."""


def told_with(bug: Bug) -> Report:
    """The report on the first story in which the bug takes hold."""
    for seed in range(_SEEDS):
        path = bug.path(seed)
        history = Story(path).tell()
        if path.planted:
            return check(history, _ENOUGH)
    pytest.fail(f"{bug.name!r} took hold in none of {_SEEDS} stories")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_planted_bug_is_found(bug: Bug) -> None:
    """The history is invalid, by the invariant that this bug breaks, and the witness names ids."""
    report = told_with(bug)
    assert report.verdict == "invalid"
    broken = {invariant.id: invariant for invariant in report.invariants if invariant.broken}
    assert bug.invariant in broken, sorted(broken)
    anomalies = {anomaly.name: anomaly for anomaly in broken[bug.invariant].anomalies}
    assert bug.anomaly in anomalies, sorted(anomalies)
    witness = anomalies[bug.anomaly].witness
    assert anomalies[bug.anomaly].count >= 1
    assert {name for name, value in witness.items() if value not in (None, "")} & _IDS


@pytest.mark.parametrize(("gave_up_s", "broken"), [(29.0, False), (31.0, True)])
def test_who_gives_up_while_faults_are_at_work_is_not_left_behind(gave_up_s: float, broken: bool) -> None:
    """The deadline runs from the last healing; whoever stops to ask before it cannot be answered in time."""
    path = SwallowedSend(0)
    told = Story(path).tell()
    assert path.planted
    [send, *_] = [e for e in told.events if isinstance(e, Send) and e.client_msg_id == path.swallowed]
    calm_t = max(event.t for event in told.nemesis if isinstance(event, Healed))
    gave_up = Unknown(
        t=max(send.t, calm_t) + gave_up_s, client=send.client, client_msg_id=path.swallowed, final=True
    )
    told.events.append(gave_up)
    anomalies = {a.name for i in check(told, _ENOUGH).invariants if i.id == "I13" for a in i.anomalies}
    assert ("never answered" in anomalies) is broken


def test_the_register_covers_all_invariants() -> None:
    """At least 25 different bugs, one or more for each invariant, none twice."""
    assert len(BUGS) >= 25
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert {bug.invariant for bug in BUGS} == {f"I{number}" for number in range(1, 14)}
    assert len({shelf.__name__ for shelf in _SHELVES} & {bug.path.__module__ for bug in BUGS}) == len(
        _SHELVES
    )
