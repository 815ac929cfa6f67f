"""What Prometheus is told to scrape."""

from __future__ import annotations

import json
from pathlib import Path

from infra.settings import Settings
from infra.stack.addresses import Address
from infra.stack.targets import targets_file, write_targets
from infra.stack.zipkin import with_zipkin, zipkin_engine


def test_every_process_is_a_target(tmp_path: Path) -> None:
    """The file has the form of file_sd_configs, and a newer one replaces it whole."""
    path = targets_file(Settings(data_dir=tmp_path))
    write_targets(path, {"old": Address("127.0.0.1", 1)})
    write_targets(path, {"worker-1": Address("127.0.0.1", 44001), "gw-1": Address("127.0.0.1", 44000)})
    assert json.loads(path.read_text()) == [
        {"targets": ["127.0.0.1:44000"], "labels": {"process": "gw-1"}},
        {"targets": ["127.0.0.1:44001"], "labels": {"process": "worker-1"}},
    ]
    assert [each.name for each in tmp_path.iterdir()] == ["targets.json"]


def test_zipkin_runs_where_spans_are_sent(tmp_path: Path) -> None:
    """Its port is the one that gateways and workers send to; it keeps nothing on disk."""
    settings = Settings(data_dir=tmp_path, zipkin_port=44_020)
    (tmp_path / "zipkin-server-9.9.9-exec.jar").touch()
    engine = zipkin_engine(settings, "java", tmp_path)
    assert with_zipkin(settings).zipkin_endpoint == f"http://{engine.address}"
    assert engine.folders == ()
