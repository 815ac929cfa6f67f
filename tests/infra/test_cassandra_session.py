"""infra/cassandra/session.py: what needs no cluster."""

from __future__ import annotations

import pytest
from cassandra import ConsistencyLevel, InvalidRequest, OperationTimedOut, ReadTimeout, WriteTimeout
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.protocol import OverloadedErrorMessage

from infra.cassandra.session import CassandraSession, contact_points, translated
from infra.settings import Settings
from schemas.errors import OutcomeUnknown, SettingsError, Unavailable

QUORUM = {"consistency": ConsistencyLevel.LOCAL_QUORUM, "required_responses": 2, "received_responses": 1}


def test_one_or_several_nodes_may_be_named() -> None:
    """The first reachable one tells of the others."""
    assert contact_points("127.0.0.1:19042") == [("127.0.0.1", 19042)]
    assert contact_points("a:9042, b:9043") == [("a", 9042), ("b", 9043)]


@pytest.mark.parametrize("addresses", ["", "a", "a:", ":1", "a:b", "a:1,"])
def test_an_address_without_host_or_port_names_its_variable(addresses: str) -> None:
    """It is found at the start."""
    with pytest.raises(SettingsError, match="IM_CASSANDRA"):
        contact_points(addresses)


@pytest.mark.parametrize(
    "error",
    [
        OperationTimedOut(),
        WriteTimeout("late", write_type=0, **QUORUM),
        ReadTimeout("late", **QUORUM),
        ConnectionShutdown("gone"),
    ],
)
def test_a_request_that_may_have_been_carried_out_is_unknown(error: Exception) -> None:
    """A timeout is never a failure."""
    ours = translated(error)
    assert type(ours) is OutcomeUnknown
    assert ours.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        NoHostAvailable("all down", {}),
        InvalidRequest("unconfigured table"),
        OverloadedErrorMessage(0x1001, "busy", None),
    ],
)
def test_whatever_else_the_cluster_says_is_unavailable(error: Exception) -> None:
    """Try again later; the text says what it was."""
    ours = translated(error)
    assert type(ours) is Unavailable
    assert type(error).__name__ in str(ours)


def test_a_mistake_of_ours_stays_what_it_is() -> None:
    """Trying again would not mend it."""
    error = TypeError("ours")
    assert translated(error) is error


async def test_a_session_that_was_not_started_is_unavailable() -> None:
    """Rather than anything of the driver's; and it may be closed."""
    session = CassandraSession(Settings(), "skein", {})
    with pytest.raises(Unavailable):
        await session.run("SELECT 1")
    await session.shutdown()
