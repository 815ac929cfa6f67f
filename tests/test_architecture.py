"""The borders of the house: who may import whom, and who may open which door."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "schemas": {"schemas"},
    "infra": {"schemas", "infra"},
    "gateway": {"schemas", "infra", "gateway"},
    "pipeline": {"schemas", "infra", "pipeline"},
}
"""Imports point downwards; gateway and pipeline do not know each other."""
OPENED_BY = {
    "aiokafka": {"infra/kafka/", "pipeline/transport.py"},
    "faust": {"pipeline/app.py", "pipeline/transport.py", "pipeline/worker.py"},
    "redis": {"infra/redis_calls.py"},
    "cassandra": {"infra/cassandra"},
    "fastavro": {"schemas/codec.py"},
    "hiredis": {"infra/redis_calls.py"},
    "opentelemetry": {"infra/telemetry/"},
    "joserfc": {"infra/token_keys.py", "infra/tokens.py", "gateway/auth.py"},
    "ahocorasick_rs": {"pipeline/moderation/"},
    "pickle": set(),
    "mock": set(),
}
"""Each driver has one door: files (or folders, by prefix) that may import it."""
SDK_NEEDS = {"schemas", "gateway.client", "websockets", "msgspec", "uuid_utils"}
CATCHES_ALL = {"pipeline/stage.py", "gateway/connection.py", "infra/lifecycle.py"}


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("house", MAY_IMPORT)
def test_imports_point_downwards(house: str) -> None:
    """A house imports itself and what lies below it."""
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in sources(house)
        for module in imports_of(path)
        if module.split(".")[0] in {*MAY_IMPORT, "tests"} - MAY_IMPORT[house]
    ]
    assert wrong == []


@pytest.mark.parametrize("driver", OPENED_BY)
def test_each_driver_has_one_door(driver: str) -> None:
    """Nobody but its door imports a driver."""
    wrong = [
        name_of(path)
        for path in sources(*MAY_IMPORT)
        if any(module.split(".")[0] == driver for module in imports_of(path))
        and not any(name_of(path).startswith(door) for door in OPENED_BY[driver])
    ]
    assert wrong == []


def test_the_sdk_needs_no_server_package() -> None:
    """An application installs the client without any server; load generator and terminal may need more."""
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in sources("gateway/client")
        if "/load" not in name_of(path) and path.name != "terminal.py"
        for module in imports_of(path)
        if module.split(".")[0] not in sys.stdlib_module_names
        and not any(module == need or module.startswith(f"{need}.") for need in SDK_NEEDS)
    ]
    assert wrong == []


def test_only_the_outer_loops_catch_everything() -> None:
    """A broad except outside them would hide a failure."""
    wrong = []
    for path in sources(*MAY_IMPORT):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler) or name_of(path) in CATCHES_ALL:
                continue
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            raises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            if broad and not raises:
                wrong.append(f"{name_of(path)}:{node.lineno}")
    assert wrong == []
