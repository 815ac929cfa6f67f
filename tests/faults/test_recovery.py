"""How long clients were away, and how soon the history moved on, as the logs tell."""

from __future__ import annotations

import pytest

from tests.faults.checker.faults import Faults
from tests.faults.checker.progress import Progress
from tests.faults.checker.recovery import Recovery, Returns, recoveries
from tests.faults.dumps import Offset
from tests.faults.history import Began, Closed, Healed, Run, Welcome
from tests.faults.specimen.memory import MemoryHistory


def a_return(returns: Returns, client: str, closed_t: float, welcome_t: float) -> None:
    returns.take_closed(Closed(t=closed_t, client=client))
    returns.take_closed(Closed(t=closed_t + 0.1, client=client))
    returns.take_welcome(Welcome(t=welcome_t, client=client, gateway="gw-1", resumed=True))


@pytest.fixture
def recovery() -> Recovery:
    """A fault from 10 to 20, during which two clients lose their connection; another does long after it."""
    told = MemoryHistory()
    told.of_run = Run(run="by hand", started_t=0.0, ended_t=90.0, started_unix_ms=0)
    told.nemesis = [Began(t=10.0, fault="f", kind="away-cassandra"), Healed(t=20.0, fault="f")]
    for t, committed, end in ((9.0, 5, 5), (15.0, 5, 30), (20.5, 5, 40), (21.5, 12, 45), (24.5, 41, 50)):
        told.others["offsets"].append(
            Offset(
                t=t, group="im.persistence", topic="im.messages", partition=0, committed=committed, end=end
            )
        )
    returns = Returns()
    a_return(returns, "a", 10.5, 11.5)
    a_return(returns, "b", 10.5, 12.5)
    a_return(returns, "c", 60.0, 69.0)
    [found] = recoveries(Faults(told), returns, Progress(told))
    return found


def test_clients_are_away_from_their_first_loss_to_their_welcome(recovery: Recovery) -> None:
    """Failed attempts between the two change nothing; what happened at other times is no part of it."""
    assert (recovery.returned, recovery.returned_p50_ms, recovery.returned_p99_ms) == (2, 2_000.0, 2_000.0)


def test_the_history_is_back_with_its_first_write_and_level_with_the_end_of_then(recovery: Recovery) -> None:
    """What came into the log since the healing is no backlog of the fault."""
    assert (recovery.first_stored_s, recovery.drained_s) == (1.5, 4.5)
