"""Engines that trust nobody: TLS and passwords everywhere, and Kafka with the rights of each user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from infra.engine_tls import engine_tls
from infra.settings import Settings
from infra.stack.addresses import free_ports, local_addresses
from infra.stack.engine import Engine, Preparation
from infra.stack.environment import child_environment
from infra.stack.probes import cassandra_probe, kafka_probe, redis_probe
from infra.stack.process import ChildSpec
from tests.authority import Authority

__all__ = ["PASSWORDS", "Secured"]

PASSWORDS: Final = {
    name: f"canary-password-of-{name}" for name in ("admin", "gateway", "worker", "redis", "store")
}


class Secured:
    """How the engines of a stack are run, and with which settings they are reached."""

    def __init__(self, plain: Settings, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = Authority(folder)
        self.settings = plain.model_copy(
            update={
                "engine_ca": self._authority.ca,
                "kafka_tls": "on",
                "kafka_user": "admin",
                "kafka_password": SecretStr(PASSWORDS["admin"]),
                "redis": plain.redis.replace("redis://", "rediss://"),
                "redis_password": SecretStr(PASSWORDS["redis"]),
                "cassandra_tls": "on",
                "cassandra_user": "cassandra",
                "cassandra_password": SecretStr("cassandra"),
            }
        )
        self._internal_port = free_ports(1)[0]

    def as_user(self, name: str, settings: Settings | None = None) -> Settings:
        """The same, as another user of Kafka."""
        update = {"kafka_user": name, "kafka_password": SecretStr(PASSWORDS[name])}
        return (settings or self.settings).model_copy(update=update)

    def adapt_engine(self, engine: Engine) -> Engine:
        """For `LocalStack`."""
        return {"kafka": self._kafka, "redis": self._redis, "cassandra": self._cassandra}[engine.child.name](
            engine
        )

    def adapt_child(self, spec: ChildSpec) -> ChildSpec:
        """For `System`: gateways are one user of Kafka, workers and the ledger another."""
        user = "gateway" if spec.name.startswith("gw-") else "worker"
        own = child_environment(self.as_user(user), {})
        access: Mapping[str, str] = {name: own[name] for name in ("IM_KAFKA_USER", "IM_KAFKA_PASSWORD")}
        return replace(spec, env={**spec.env, **access})

    def _kafka(self, engine: Engine) -> Engine:
        ((path, text),) = engine.files.items()
        store = self._authority.pkcs12("broker", "storepass")
        client, internal = engine.address.port, self._internal_port
        lines = text.splitlines()
        kept = [
            line
            for line in lines
            if not line.startswith(("listeners=", "advertised.listeners", "listener.sec", "inter.broker"))
        ]
        controller = self.settings.kafka_controller_port
        served = f"CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal}"
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        kept += [
            f"listeners={served},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners={served}",
            "listener.security.protocol.map=CLIENT:SASL_SSL,INTERNAL:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name=INTERNAL",
            "listener.name.internal.ssl.client.auth=required",
            "listener.name.controller.ssl.client.auth=required",
            "ssl.principal.mapping.rules=RULE:^CN=(.*)$/$1/",
            f"ssl.keystore.location={store}",
            "ssl.keystore.type=PKCS12",
            "ssl.keystore.password=storepass",
            "ssl.key.password=storepass",
            f"ssl.truststore.location={self._authority.ca}",
            "ssl.truststore.type=PEM",
            "ssl.enabled.protocols=TLSv1.3,TLSv1.2",
            "sasl.enabled.mechanisms=SCRAM-SHA-512",
            f"listener.name.client.scram-sha-512.sasl.jaas.config={login}",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:broker;User:admin",
            "allow.everyone.if.no.acl.found=false",
        ]
        preparation = engine.preparation
        assert preparation is not None
        users = [
            word
            for name in ("admin", "gateway", "worker")
            for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={PASSWORDS[name]}]")
        ]
        return replace(
            engine,
            files={path: "\n".join(kept) + "\n"},
            preparation=Preparation((*preparation.argv, *users), preparation.done),
            child=replace(engine.child, ready=kafka_probe(engine.address, engine_tls(self.settings))),
        )

    def _redis(self, engine: Engine) -> Engine:
        ((path, text),) = engine.files.items()
        certificate, key = self._authority.pem("redis")
        lines = [line for line in text.splitlines() if not line.startswith("port ")]
        lines += [
            "port 0",
            f"tls-port {engine.address.port}",
            f'tls-cert-file "{certificate}"',
            f'tls-key-file "{key}"',
            f'tls-ca-cert-file "{self._authority.ca}"',
            "tls-auth-clients no",
            'tls-protocols "TLSv1.2 TLSv1.3"',
            f"requirepass {PASSWORDS['redis']}",
        ]
        return replace(
            engine,
            files={path: "\n".join(lines) + "\n"},
            child=replace(engine.child, ready=redis_probe(engine.address, engine_tls(self.settings))),
        )

    def _cassandra(self, engine: Engine) -> Engine:
        ((path, text),) = engine.files.items()
        store = self._authority.pkcs12("cassandra", "storepass")
        text += f"""
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
client_encryption_options:
  enabled: true
  optional: false
  keystore: "{store}"
  keystore_password: storepass
  store_type: PKCS12
  require_client_auth: false
"""
        address = local_addresses(self.settings)["IM_CASSANDRA"]
        return replace(
            engine,
            files={path: text},
            child=replace(engine.child, ready=cassandra_probe(address, engine_tls(self.settings))),
        )
