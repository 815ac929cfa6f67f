"""Alert rules, their tests and their runbooks belong together; boards are what the code says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from gateway.metrics import Metrics
from infra.deploy.grafana.boards import BOARDS, Board, render
from infra.kafka.publisher import Publisher
from infra.telemetry.loop_lag import watch_loop
from pipeline.metrics import stage
from pipeline.topology import STAGES

DEPLOY = Path(__file__).parents[2] / "infra" / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
SECTIONS = ["What it means", "What users notice", "Look at", "Do", "Afterwards"]


def rules_of(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


IN_EVERY_PROCESS = (Publisher, watch_loop)
"""What brings instruments of its own along."""
ALERTS = {rule["alert"]: rule for rule in rules_of("alerts.yml")}
RUNBOOKS = {path.stem: path.read_text() for path in (DEPLOY / "runbooks").glob("*.md")}


def promtool(*arguments: str) -> None:
    tool = shutil.which("promtool")
    assert tool is not None, "promtool not found → sudo apt-get install prometheus"
    ended = subprocess.run((tool, *arguments), capture_output=True, text=True, check=False, cwd=PROMETHEUS)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_rules_hold_what_their_tests_say() -> None:
    """promtool plays made-up series: each alert fires when it should and is quiet otherwise."""
    promtool("test", "rules", "alerts_test.yml")


def test_the_configuration_is_sound() -> None:
    """Prometheus would start with these files."""
    promtool("check", "rules", "objectives.yml", "alerts.yml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_severity_runbook_and_a_case_that_fires(alert: str) -> None:
    """Whoever is woken knows how bad it is and where to read on; and the rule can fire at all."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["runbook_url"] == f"infra/deploy/runbooks/{alert}.md"
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    cases = [c for t in tests for c in t["alert_rule_test"] if c["alertname"] == alert]
    assert any(case.get("exp_alerts") for case in cases)
    assert any(not case.get("exp_alerts") for case in cases)


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    """No page for an alert that is gone, no alert without its page."""
    assert RUNBOOKS.keys() == ALERTS.keys()


@pytest.mark.parametrize("name", RUNBOOKS)
def test_a_runbook_answers_the_same_questions(name: str) -> None:
    """Title, five sections in order, and links that lead somewhere."""
    text = RUNBOOKS[name]
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    for link in re.findall(r"\]\((\w+)\.md\)", text):
        assert link in RUNBOOKS


def test_runbooks_name_commands_that_exist() -> None:
    """Every `im …` in a runbook is a command of this version."""
    from infra.cli import command

    root = command()
    commands = {c.name or getattr(c.callback, "__name__", "") for c in root.registered_commands}
    known = commands | {str(group.name) for group in root.registered_groups}
    named = {word for text in RUNBOOKS.values() for word in re.findall(r"`im (\w+)", text)}
    assert named <= known


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_board_is_what_the_code_says(board: Board) -> None:
    """Whoever changes a query writes the boards anew: python -m infra.deploy.grafana.boards."""
    assert (DEPLOY / "grafana" / f"{board.uid}.json").read_text() == render(board)


def test_boards_and_rules_ask_for_nothing_that_is_not_measured() -> None:
    """Every im_ name in a query is one that a gateway, a worker or the ledger exposes."""
    for spec in STAGES:
        stage(spec.name)
    exposed = {
        family.name
        for registry in (REGISTRY, Metrics().registry)
        for family in registry.collect()
        if family.name.startswith("im_")
    }
    texts = [json.dumps([g.queries for graphs in b.rows.values() for g in graphs]) for b in BOARDS]
    texts += [str(rule["expr"]) for name in ("objectives.yml", "alerts.yml") for rule in rules_of(name)]
    asked = {re.sub(r"_(total|bucket|sum|count)$", "", n) for t in texts for n in re.findall(r"\bim_\w+", t)}
    assert asked - exposed == {"im_ledger_unaccounted"} - exposed
