"""How an account of the ledger is read back and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec
from rich.table import Table

from infra.ports import RouteTable
from infra.printing import Form, chosen, print_rows, print_value
from pipeline.ops.accounts.audit import REPORT, Account, Result
from pipeline.ops.accounts.findings import Finding
from pipeline.ops.accounts.verify import Verification

__all__ = [
    "account_line",
    "findings_table",
    "newest_account",
    "print_account",
    "verification_text",
]


async def newest_account(routes: RouteTable) -> Account | None:
    """What the audit reported last; None if none runs. Raises `Unavailable`."""
    report = await routes.report(REPORT)
    return msgspec.json.decode(report, type=Account) if report is not None else None


def account_line(account: Account | None) -> str:
    """One line for `im status`."""
    if account is None:
        return "ledger: nobody keeps the books → im ledger run"
    window = f"{_time(account.since_ms)}–{_time(account.until_ms)}"
    sums = f"{_sums(account.results)} · in flight {account.in_flight:,}"
    return f"unaccounted: {account.total}   {window}   {sums}"


def verification_text(found: Verification) -> str:
    """What a verification compared, in two lines."""
    window = f"{_time(found.since_ms)}–{_time(found.until_ms)}"
    return (
        f"{len(found.findings)} findings · {window}, {found.conversations:,} conversations\n"
        f"{_sums(found.results)} · in flight {found.in_flight:,}"
    )


def _sums(results: Mapping[Result, int]) -> str:
    return " · ".join(f"{name.replace('_', '-')} {count:,}" for name, count in results.items() if count)


def _time(time_ms: int) -> str:
    """A time of day in UTC, to the second."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%H:%M:%S}Z"


def findings_table(findings: Iterable[Finding]) -> Table:
    table = Table("between", "what", "conversation", "seq", "message", "place", "", title="Unaccounted")
    for one in findings:
        seq = str(one.seq) if one.seq else ""
        table.add_row(one.between, one.what, one.conversation_id, seq, one.message_id, one.place, one.text)
    return table


def print_account(account: Account, wanted: Form | None) -> None:
    if chosen(wanted) is Form.JSON:
        print_value(account, Form.JSON)
        return
    table = Table("result", "count", title=account_line(account).partition("   ")[0], title_justify="left")
    for name, count in account.results.items():
        table.add_row(name, f"{count:,}")
    table.add_row("in flight", f"{account.in_flight:,}")
    for between, count in account.unaccounted.items():
        table.add_row(f"unaccounted: {between}", str(count), style="red" if count else "")
    print_rows([account], wanted, table)
    if account.findings and chosen(wanted) is Form.TABLE:
        print_rows((), Form.TABLE, findings_table(account.findings))
