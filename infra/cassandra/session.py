"""A session with the cluster, for an event loop: the only importer of Cassandra's driver.

The driver works on a thread of its own and has no back-pressure. Here a request waits for one of
`cassandra_inflight` slots, its answer crosses to the loop, and whatever goes wrong is one of our errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from cassandra import (
    ConsistencyLevel,
    DriverException,
    OperationTimedOut,
    ProtocolVersion,
    ReadFailure,
    ReadTimeout,
    WriteFailure,
    WriteTimeout,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    ResponseFuture,
    Session,
)
from cassandra.connection import ConnectionException
from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.protocol import ErrorMessage
from cassandra.query import BatchStatement, BatchType, BoundStatement, PreparedStatement, tuple_factory

from infra.cassandra.batches import batches_of
from infra.cassandra.binding import Write
from infra.cassandra.crossing import Crossing
from infra.engine_tls import engine_tls
from infra.settings import Settings
from infra.together import all_ended
from schemas.errors import OutcomeUnknown, SettingsError, Unavailable

__all__ = ["CassandraSession", "contact_points", "translated"]

_CONNECT_TRIES: Final = 5
_CONNECT_PAUSE_S: Final = 1.0
_CONNECT_TIMEOUT_S: Final = 5.0
_RECONNECT_S: Final = 1.0
"""The driver's own back-off reaches 125 s, so that a minute may pass after the cluster is back."""
_HEARTBEAT_S: Final = 5.0
_SHUTDOWN_TIMEOUT_S: Final = 10.0
_UNKNOWN: Final = (
    OperationTimedOut,
    WriteTimeout,
    WriteFailure,
    ReadTimeout,
    ReadFailure,
    ConnectionException,
)
"""After these the request may have been carried out."""

_DRIVER_ERRORS: Final = (DriverException, NoHostAvailable, ConnectionException, ErrorMessage)

Rows = list[tuple[Any, ...]]


class _Connected(NamedTuple):
    cluster: Cluster
    session: Session
    crossing: Crossing


class CassandraSession:
    """Prepared statements over one connection pool. Every request may be repeated: ours are idempotent.

    Reads and writes ask for LOCAL_QUORUM. Each request is bounded by `cassandra_timeout_s`, and the
    driver may try it on one more node. Raises `OutcomeUnknown` when a request may have been carried
    out, `Unavailable` for anything else that goes wrong.
    """

    def __init__(self, settings: Settings, keyspace: str | None, statements: Mapping[str, str]) -> None:
        self._settings = settings
        self._keyspace = keyspace
        self._statements = statements
        self._prepared: dict[str, PreparedStatement] = {}
        self._slots = asyncio.Semaphore(settings.cassandra_inflight)
        self._connected: _Connected | None = None
        self.requests = 0
        """How many it has sent."""

    async def startup(self) -> None:
        """Connect, in a few tries, and prepare every statement. Raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        for tries_left in reversed(range(_CONNECT_TRIES)):
            try:
                cluster, session = await loop.run_in_executor(None, self._connect)
            except Unavailable:
                if not tries_left:
                    raise
                await asyncio.sleep(_CONNECT_PAUSE_S)
            else:
                self._connected = _Connected(cluster, session, Crossing(loop))
                return

    async def shutdown(self) -> None:
        """Close every connection, within a bound. May be called again, and without a startup."""
        connected, self._connected = self._connected, None
        if connected is not None:
            closing = asyncio.get_running_loop().run_in_executor(None, connected.cluster.shutdown)
            await asyncio.wait([closing], timeout=_SHUTDOWN_TIMEOUT_S)

    async def prepare(self, statements: Mapping[str, str]) -> None:
        """Make more statements known by name."""
        session, loop = self._open.session, asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self._prepare, session, statements)
        except _DRIVER_ERRORS as error:
            raise translated(error) from error

    async def run(self, cql: str) -> None:
        """Carry out a statement that was not prepared."""
        await self._execute(cql)

    async def rows(self, name: str, *values: object) -> Rows:
        """Every row that the statement of that name selects, in however many pages they come."""
        return await self._execute(self._prepared[name].bind(values))

    def batches_of(self, writes: Sequence[Write]) -> list[list[Write]]:
        """Writes as the batches in which `write` takes them. Raises `BadInput` for one that is too large."""
        settings = self._settings
        return batches_of(
            writes, self._place_rule(), settings.cassandra_batch_rows, settings.cassandra_batch_bytes
        )

    async def write(self, batches: Sequence[Sequence[Write]]) -> None:
        """Return once all are stored. When it raises, any of them may be."""
        await all_ended(*(self._execute(self._bound(batch)) for batch in batches))

    @property
    def _open(self) -> _Connected:
        if self._connected is None:
            raise Unavailable("Cassandra: the session was not started, or is closed")
        return self._connected

    def _connect(self) -> tuple[Cluster, Session]:
        """Blocks; on a thread of the executor."""
        cluster = _cluster(self._settings)
        try:
            session = cluster.connect(self._keyspace)
            session.use_client_timestamp = False  # what needs a write timestamp says so in its statement
            self._prepare(session, self._statements)
        except _DRIVER_ERRORS as error:
            cluster.shutdown()
            raise translated(error) from error
        return cluster, session

    def _prepare(self, session: Session, statements: Mapping[str, str]) -> None:
        """Blocks; on a thread of the executor."""
        for name, cql in statements.items():
            prepared = session.prepare(cql)
            prepared.is_idempotent = True
            self._prepared[name] = prepared

    def _place_rule(self) -> Callable[[Write], Hashable]:
        """Which nodes store a write: all the same place while each node stores everything."""
        metadata = self._open.cluster.metadata
        if len(metadata.all_hosts()) <= self._settings.copies_of_rows:
            return lambda _: None
        return lambda write: frozenset(metadata.get_replicas(self._keyspace, write.routing_key))

    def _bound(self, writes: Sequence[Write]) -> BoundStatement | BatchStatement:
        bound = [self._with_values(write) for write in writes]
        if len(bound) == 1:
            return bound[0]
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.is_idempotent = True
        for statement in bound:
            batch.add(statement)
        return batch

    def _with_values(self, write: Write) -> BoundStatement:
        bound = BoundStatement(self._prepared[write.statement])
        bound.values = list(write.values)
        return bound

    async def _execute(self, statement: BoundStatement | BatchStatement | str) -> Rows:
        await self._slots.acquire()
        reply: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        settle = partial(self._settle, reply)
        try:
            session, crossing = self._open.session, self._open.crossing
            self.requests += 1
            request = session.execute_async(statement)
        except (*_DRIVER_ERRORS, Unavailable) as error:
            settle(error)
        else:
            _gather_pages(request, lambda outcome: crossing.run_soon(partial(settle, outcome)))
        return await reply

    def _settle(self, reply: asyncio.Future[Rows], outcome: Rows | Exception) -> None:
        """The request is over: its slot is free, also if nobody waits for the reply any more."""
        self._slots.release()
        if reply.cancelled():
            return
        if isinstance(outcome, Exception):
            reply.set_exception(translated(outcome))
        else:
            reply.set_result(outcome)


def _cluster(settings: Settings) -> Cluster:
    profile = ExecutionProfile(
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        request_timeout=settings.cassandra_timeout_s,
        row_factory=tuple_factory,
    )
    nodes = contact_points(settings.cassandra)
    return Cluster(
        nodes,
        port=nodes[0][1],
        protocol_version=ProtocolVersion.V5,  # checksums; 1 µs a row more than V4
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(_RECONNECT_S, max_attempts=None),
        connect_timeout=_CONNECT_TIMEOUT_S,
        control_connection_timeout=_CONNECT_TIMEOUT_S,
        idle_heartbeat_interval=_HEARTBEAT_S,
        idle_heartbeat_timeout=_HEARTBEAT_S,
        monitor_reporting_enabled=False,
        auth_provider=_credentials(settings),
        ssl_context=engine_tls(settings) if settings.cassandra_tls == "on" else None,
        compression=False,
    )


def _credentials(settings: Settings) -> PlainTextAuthProvider | None:
    if settings.cassandra_password is None:
        return None
    return PlainTextAuthProvider(settings.cassandra_user, settings.cassandra_password.get_secret_value())


def _gather_pages(request: ResponseFuture, done: Callable[[Rows | Exception], None]) -> None:
    """Call `done` once, on the driver's thread, with every row of every page, or with what went wrong."""
    rows: Rows = []

    def page(found: Rows | None) -> None:
        rows.extend(found or ())
        if request.has_more_pages:
            request.start_fetching_next_page()
        else:
            done(rows)

    request.add_callbacks(page, done)


def translated(error: Exception) -> Exception:
    """The driver's error as ours; anything else as it is, for it is a mistake of ours."""
    if not isinstance(error, _DRIVER_ERRORS):
        return error
    kind = OutcomeUnknown if isinstance(error, _UNKNOWN) else Unavailable
    ours = kind(f"Cassandra: {type(error).__name__}: {error}")
    ours.__cause__ = error
    return ours


def contact_points(addresses: str) -> list[tuple[str, int]]:
    """`host:port`, or several with commas. Raises `SettingsError`."""
    points = []
    for address in addresses.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal():
            raise SettingsError(
                f"IM_CASSANDRA: host:port is needed, or several with commas (given: {address!r})"
            )
        points.append((host, int(port)))
    return points
