"""What a person and a program read of the ledger, a verification and a trace."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from rich.console import Console

from infra.clock import ManualClock
from infra.memory.routes import MemoryRouteTable
from infra.printing import Form
from pipeline.ops.accounts.audit import REPORT, Account
from pipeline.ops.accounts.findings import Finding
from pipeline.ops.accounts.ledger_view import findings_table, newest_account, print_account, verification_text
from pipeline.ops.accounts.verify import Verification
from pipeline.ops.traces.trace_view import print_trace
from tests.pipeline.ops.test_trace import trace_in
from tests.pipeline.ops.world import World

LOST = Finding(
    between="message-row",
    what="missing",
    place="im.messages[0]@1",
    text="seq 2 is not in the history",
    conversation_id="d:alice:bob",
    seq=2,
)
ACCOUNT = Account(0, 60_000, 61_000, {"sent": 3}, 0, {"message-row": 1}, [LOST])


async def test_an_account_is_read_back_as_it_was_reported() -> None:
    """What the service puts into Redis is what `im status` gets; nothing, if nobody keeps the books."""
    routes = MemoryRouteTable(ManualClock())
    assert await newest_account(routes) is None
    await routes.put_report(REPORT, msgspec.json.encode(ACCOUNT), 60)
    assert await newest_account(routes) == ACCOUNT


def test_an_account_in_a_pipe_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs read the same numbers."""
    print_account(ACCOUNT, Form.NDJSON)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["findings"][0]["seq"] == 2


def test_an_account_on_a_terminal_names_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table has the number, and the place of each finding."""
    monkeypatch.setenv("COLUMNS", "160")
    print_account(ACCOUNT, Form.TABLE)
    shown = capsys.readouterr().out
    assert "unaccounted: 1" in shown
    assert "d:alice:bob" in shown


def test_a_verification_says_what_it_compared() -> None:
    """Findings, window and sums in two lines."""
    text = verification_text(Verification(0, 60_000, 2, {"sent": 1_234}, 0, [LOST]))
    assert text.splitlines() == [
        "1 findings · 00:00:00Z–00:01:00Z, 2 conversations",
        "sent 1,234 · in flight 0",
    ]
    assert findings_table([LOST]).row_count == 1


async def test_a_trace_on_a_terminal_has_a_line_for_each_hop_and_member() -> None:
    """The headline, the hops in their order, and the members with their answers."""
    world = World()
    message = await world.say()
    world.commit()
    shown = io.StringIO()
    print_trace(await trace_in(world, message.message_id), Console(file=shown, width=200))
    lines = shown.getvalue().splitlines()
    assert lines[0].startswith("message d:alice:bob #1 from alice")
    assert [line.split()[3] for line in lines[1:3]] == ["accepted", "passed"]
    assert "bob" in lines[-1]
    assert "offline" in lines[-1]
