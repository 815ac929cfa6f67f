"""Every setting of Skein: read once from ``IM_*`` variables, checked all at once.

A name here is the variable's name in lower case without the prefix:
``dedupe_window_s`` is ``IM_DEDUPE_WINDOW_S``. Units are in the names.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.errors import SettingsError

__all__ = ["Settings", "load_settings"]

Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(ge=1)]
PositiveSeconds = Annotated[float, Field(gt=0)]
Network = IPv4Network | IPv6Network
_UNTOLD = frozenset({"auth_secret", "kafka_password", "redis_password", "cassandra_password", "redis"})
"""What a message about a wrong value never repeats."""
_KEY_SET_PLACE = r"^(https://\S+|http://(127\.0\.0\.1|localhost)[:/]\S*|[^:]*)$"


class Settings(BaseSettings):
    """The whole configuration of one process. Frozen: a change means a restart."""

    model_config = SettingsConfigDict(env_prefix="IM_", frozen=True, extra="ignore")

    # Who may come in
    auth_secret: SecretStr | None = None
    """Signs and checks tokens of HS256. `im run` makes one and keeps it with the data."""
    auth_algorithm: Literal["HS256", "RS256", "EdDSA"] = "HS256"
    """The only one that is taken. HS256 checks with `auth_secret`, the others with public keys."""
    auth_public_key: Path | None = None
    """A file with the public key (PEM or JWK) of RS256 or EdDSA."""
    auth_jwks: Annotated[str, Field(pattern=_KEY_SET_PLACE)] = ""
    """Instead: a JWK set, as a file or an address (https, or this machine), whose keys may change."""
    auth_jwks_refresh_s: PositiveSeconds = 300.0
    auth_jwks_pause_s: PositiveSeconds = 10.0
    """Tokens with an unknown `kid` make a gateway read the set at most once in this time."""
    auth_audience: str = ""
    """What `aud` must name; empty: it is not looked at."""
    auth_issuer: str = ""
    """What `iss` must be; empty: it is not looked at."""
    token_life_s: Positive = 2_592_000
    """The longest life of the tokens that are made for this service; a revocation is heeded for so long."""
    origins: Annotated[str, NoDecode] = ""
    """Comma-separated Origin values that browsers may connect from; the gateway's own is always allowed."""

    # Engines
    data_dir: Path = Path(".skein")
    jars_dir: Path = Path(".skein/jars")
    """Where the jars of Kafka and Cassandra are kept; they outlive `im reset`, and tests share them."""
    kafka: str = "127.0.0.1:19092"
    kafka_controller_port: Port = 19093
    kafka_tls: Literal["on", "off"] = "off"
    kafka_user: str = ""
    """Who this process is to Kafka (SASL); empty: nobody in particular."""
    kafka_password: SecretStr | None = None
    kafka_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256"] = "SCRAM-SHA-512"
    redis: str = "redis://127.0.0.1:16379/0"
    """`rediss://…` speaks TLS. The password has its own setting, since addresses are printed."""
    redis_user: str = ""
    redis_password: SecretStr | None = None
    redis_cluster: bool = False
    """Whether `redis` names a node of a Redis Cluster."""
    redis_timeout_s: PositiveSeconds = 0.5
    """For one answer of Redis. A call takes at most four times as long: two tries of two round trips."""
    cassandra: str = "127.0.0.1:19042"
    cassandra_storage_port: Port = 17000
    cassandra_tls: Literal["on", "off"] = "off"
    cassandra_user: str = ""
    cassandra_password: SecretStr | None = None
    engine_ca: Path | None = None
    """The file with the CA of the engines' certificates; none: those that the system trusts."""
    keyspace: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")] = "skein"
    replication_factor: Positive = 1
    """Copies of each record, and of each row unless that says otherwise."""
    cassandra_replication_factor: Positive | None = None
    min_insync_replicas: Positive = 1
    partitions: Positive = 2
    """Partitions of each conversation topic. Fixed once messages exist: a change would move conversations."""

    # What `im run` keeps running
    warm_standby: Literal["on", "off"] = "on"
    """Whether a second process of each gateway and worker stands by, loaded (100 MB each)."""

    # Gateway
    gateway_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "gw-1"
    host: str = "127.0.0.1"
    port: Port = 8080
    tls_cert: Path | None = None
    """The gateway's certificate chain (PEM), with `tls_key` (mode 0600); none: its port speaks plainly.
    Replaced files are taken within seconds, for new connections."""
    tls_key: Path | None = None
    public_url: Annotated[str, Field(pattern=r"^wss?://[^\s]+$")] | None = None
    """Where clients reach this gateway (`ws://host:port`); default: IM_HOST and IM_PORT."""
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$")] = ""
    """Where it stands, for clients that ask `/v1/gateways?region=…` for one near them."""
    gateways: Positive = 1
    """How many gateways `im run` starts, on consecutive ports from `port`."""
    demo: Literal["on", "off"] = "off"
    """`on` lets anybody log in to the chat page as a demo user. `im run` sets it for its gateways."""
    lease_s: PositiveSeconds = 6.0
    heartbeat_s: Positive = 30
    max_frame_bytes: Positive = 65_536
    max_inflight: Positive = 512
    sends_per_s: Positive = 20
    send_burst: Positive = 60
    ack_timeout_s: PositiveSeconds = 18.0
    ack_tries: Positive = 3
    resume_window_s: PositiveSeconds = 30.0
    outbox_bytes: Positive = 262_144
    """Unsent bytes one connection may hold; half: ephemeral frames are dropped, full: closed with 4001."""
    publish_timeout_s: PositiveSeconds = 10.0
    max_connections: Positive = 50_000
    max_memory_mib: Positive = 4_096
    """Of one gateway process; towards it connects, then sends are refused, lowest priority first."""
    max_loop_lag_ms: Positive = 1_000
    """How late a gateway's loop may come to its work; towards it the same."""
    trusted_proxies: Annotated[str, NoDecode] = ""
    """Comma-separated addresses or networks whose X-Forwarded-For is believed."""

    # What one of them may take (gateway/limits)
    limits: Literal["on", "off"] = "on"
    """`off` lifts rates, quotas, suspensions, caps per user and ip, and pacing (benchmarks). What keeps a
    gateway alive stays: connections, memory, loop lag, backlog, sizes."""
    pair_sends_per_s: Positive = 10
    """Sends of one user to one other, in their direct conversation."""
    pair_send_burst: Positive = 60
    ip_sends_per_s: Positive = 500
    ip_send_burst: Positive = 2_000
    ip_connects_per_s: Positive = 50
    ip_connect_burst: Positive = 500
    user_connections: Positive = 32
    """Connections of one user to one gateway; above it 503."""
    ip_connections: Positive = 1_000
    """Sockets of one ip to one gateway, also those that say nothing; above it 503."""
    frames_per_s: Positive = 500
    """Frames of one connection, of any kind, fragments and WebSocket pings too; above it 4503."""
    frame_burst: Positive = 2_000
    max_fragments: Positive = 128
    """Fragments of one message; above it the connection ends with 1008."""
    suspend_window_s: Positive = 60
    """A user or ip that does more than this in the window is suspended."""
    suspend_user_connects: Positive = 240
    suspend_user_sends: Positive = 3_000
    suspend_ip_connects: Positive = 6_000
    suspend_ip_sends: Positive = 120_000
    suspension_s: Positive = 300
    """Counted anew from each attempt while it lasts."""
    suspension_max_s: Positive = 3_600
    """No suspension that extends itself is longer; an operator's lasts as long as he says."""
    tenant_quota_per_s: Annotated[int, Field(ge=0)] = 0
    """Sends a second of each tenant over all gateways; 0: no quota."""
    tenant_quotas: Annotated[str, NoDecode] = ""
    """Quotas of single tenants, as `acme=500,demo=20`."""
    backlog_records: Positive = 50_000
    """Records that wait for the log; towards it the same."""
    backlog_bytes: Positive = 67_108_864
    path_target_ms: Positive = 500
    """Sends are paced once all of them take longer than this from the gateway to their place in the order."""

    # Pipeline
    worker_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "worker-1"
    worker_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Where a worker serves /livez /readyz /metrics; 0: nowhere."""
    chunk_records: Positive = 1_000
    chunk_bytes: Positive = 1_048_576
    dedupe_window_s: Positive = 120
    fanout_threshold_members: Positive = 200
    """Write-diffusion up to this many members, read-diffusion above."""
    receipts_max_members: Positive = 50
    """Groups with more members tell nobody who read what; cursors are kept all the same."""
    session_timeout_s: PositiveSeconds = 6.0
    commit_interval_s: PositiveSeconds = 0.5
    cassandra_batch_rows: Positive = 50
    cassandra_batch_bytes: Positive = 32_768
    cassandra_inflight: Positive = 64
    cassandra_timeout_s: PositiveSeconds = 3.0
    """What one request to Cassandra may take."""
    dlq_max_ratio: Annotated[float, Field(gt=0, le=1)] = 0.25
    """A stage stops when more than this share of its records fail within `dlq_window_s`."""
    dlq_window_s: PositiveSeconds = 60.0
    dlq_min_records: Positive = 200
    """Fewer records than this in the window say nothing about a share."""
    dlq_max_consecutive: Positive = 100
    """A stage stops when more records than this fail in a row in one partition."""

    # What is watched
    ledger_interval_s: PositiveSeconds = 5.0
    """How often the ledger closes its books."""
    ledger_members: Positive = 500
    """Members whose acks the ledger checks in a round; those of the others go unchecked, and are counted."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str = ""
    """Where spans go over OTLP/HTTP, such as http://127.0.0.1:4318; empty: nowhere."""
    zipkin_endpoint: str = ""
    """Where spans go as Zipkin's JSON, such as http://127.0.0.1:9411; empty: nowhere."""
    zipkin_port: Port = 9411
    """Where `im run --zipkin` runs a Zipkin."""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The share of messages that is traced, unless whoever sends one says otherwise."""

    @property
    def copies_of_rows(self) -> int:
        return self.cassandra_replication_factor or self.replication_factor

    @property
    def quota_of_tenants(self) -> dict[str, float]:
        return _quotas(self.tenant_quotas)

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        return _networks(self.trusted_proxies)

    @field_validator("tenant_quotas")
    @classmethod
    def _check_quotas(cls, text: str) -> str:
        if any(per_s < 0 for per_s in _quotas(text).values()):
            raise ValueError("a quota is not negative")
        return text

    @field_validator("redis")
    @classmethod
    def _check_no_password(cls, url: str) -> str:
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError("user and password are IM_REDIS_USER and IM_REDIS_PASSWORD")
        return url

    @model_validator(mode="after")
    def _check_users(self) -> Settings:
        for engine in ("kafka", "cassandra"):
            user, password = getattr(self, f"{engine}_user"), getattr(self, f"{engine}_password")
            if bool(user) != (password is not None):
                raise ValueError(f"IM_{engine.upper()}_USER and _PASSWORD go together")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, text: str) -> str:
        _networks(text)
        return text

    @property
    def allowed_origins(self) -> frozenset[str]:
        return frozenset(o.strip() for o in self.origins.split(",") if o.strip())


def _quotas(text: str) -> dict[str, float]:
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {tenant.strip(): float(per_s) for tenant, _, per_s in pairs}


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def load_settings() -> Settings:
    """Read the environment, and what it leaves out from the files of `IM_SECRETS_DIR`.

    Such a file is named like its variable in lower case (`im_kafka_password`). Raises `SettingsError`
    that names every wrong variable at once, or the files that others may read.
    """
    folder = os.environ.get("IM_SECRETS_DIR")
    try:
        return Settings(_secrets_dir=_checked_folder(Path(folder))) if folder else Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(map(_wrong, error.errors()))) from None


def _wrong(error: ErrorDetails) -> str:
    name = "_".join(map(str, error["loc"]))
    told = f"IM_{name.upper()}: {error['msg']}" if name else error["msg"]
    return told if name in _UNTOLD or not name else f"{told} (given: {error['input']!r})"


def _checked_folder(folder: Path) -> Path:
    """Raises `SettingsError` unless these files are for their owner only."""
    if not folder.is_dir():
        raise SettingsError(f"IM_SECRETS_DIR: {folder} is no folder")
    exposed = [str(path) for path in folder.glob("im_*") if path.stat().st_mode & 0o077]
    if exposed:
        raise SettingsError(f"IM_SECRETS_DIR: others may read {', '.join(exposed)} → chmod 600")
    return folder
