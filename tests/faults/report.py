"""What a run showed: the checker's verdict beside what was done, as values, and as a page for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

import msgspec

from tests.faults.checker.availability import Window
from tests.faults.checker.check import Report
from tests.faults.checker.recovery import Recovery
from tests.faults.conductor import Strike
from tests.faults.history import Run
from tests.faults.run import Outcome

__all__ = ["KindSummary", "Summary", "summarise", "write_report"]


class KindSummary(msgspec.Struct, frozen=True):
    """One kind of fault. Times in seconds.

    `back`: from the healing until the target was seen to work again. `rto`: from the beginning until every
    partition that had sends waiting had answered them. `silence`: the longest without any `accepted`.
    """

    kind: str
    count: int
    held: int
    back_p50: float | None
    back_max: float | None
    rto_p50: float
    rto_max: float
    silence_max: float


class Summary(msgspec.Struct, frozen=True):
    run: Run
    checked: Report
    kinds: list[KindSummary]
    faults: int
    deeds: dict[str, int]
    left_out: dict[str, str]
    notes: list[str]
    """What went otherwise than planned, for a person to look at."""

    @property
    def definite_share(self) -> float:
        """Sends that had a definite answer within 30 s."""
        overall = self.checked.availability.overall
        return overall.answered / overall.sends if overall.sends else 0.0


def summarise(run: Run, checked: Report, outcome: Outcome) -> Summary:
    """Bring both together."""
    windows = {window.fault: window for window in checked.availability.faults}
    kinds = sorted({strike.kind for strike in outcome.strikes})
    return Summary(
        run=run,
        checked=checked,
        kinds=[_of_kind(kind, outcome.strikes, windows) for kind in kinds],
        faults=len(outcome.strikes),
        deeds=dict(outcome.deeds),
        left_out=outcome.left_out,
        notes=list(_notes(outcome)),
    )


def write_report(summary: Summary, path: Path) -> None:
    """As JSON or HTML, by the name's end; anything else becomes Markdown."""
    match path.suffix:
        case ".json":
            path.write_bytes(msgspec.json.format(msgspec.json.encode(summary)))
        case ".html":
            path.write_text(_html(summary))
        case _:
            path.write_text(_markdown(summary))


def _of_kind(kind: str, strikes: Sequence[Strike], windows: dict[str, Window]) -> KindSummary:
    ours = [strike for strike in strikes if strike.kind == kind]
    seen = [windows[strike.fault] for strike in ours if strike.fault in windows]
    back = sorted(
        strike.back_at - strike.healed_at
        for strike in ours
        if strike.back_at is not None and strike.healed_at is not None
    )
    rto = sorted(window.rto_s for window in seen)
    return KindSummary(
        kind=kind,
        count=len(ours),
        held=sum(strike.held is not None for strike in ours),
        back_p50=round(_middle(back), 2) if back else None,
        back_max=round(back[-1], 2) if back else None,
        rto_p50=round(_middle(rto), 2),
        rto_max=round(max(rto, default=0.0), 2),
        silence_max=round(max((window.longest_gap_s for window in seen), default=0.0), 2),
    )


def _middle(ascending: Sequence[float]) -> float:
    return ascending[len(ascending) // 2] if ascending else 0.0


def _notes(outcome: Outcome) -> Iterable[str]:
    if not outcome.caught_up:
        yield "the pipeline did not reach the end of its topics in time"
    if outcome.unanswered:
        yield f"{outcome.unanswered} sends had no answer in the end"
    if outcome.unsettled:
        yield f"these clients could not settle: {', '.join(outcome.unsettled)}"
    for strike in outcome.strikes:
        if strike.held is None:
            yield f"{strike.fault} on {strike.target} never took hold. {strike.trouble}".strip()
        elif strike.back is None or strike.trouble:
            yield f"{strike.fault} on {strike.target}: not seen to be over. {strike.trouble}".strip()


ONE_BY_ONE: Final = (
    "fault",
    "RTO s",
    "accepted p50 / p99",
    "delivered p50 / p99",
    "clients back p50 / p99",
    "history s: first write / all",
)

Table = tuple[str, Sequence[str], list[Sequence[str]]]
"""Title, heads, rows."""


def _tables(summary: Summary) -> list[Table]:
    overall = summary.checked.availability.overall
    checked = summary.checked
    figures = [
        ("sends that went well", f"{checked.counts['ok']:,} of {checked.counts['sends']:,}"),
        ("definite answer within 30 s", f"{100 * summary.definite_share:.4f} %"),
        ("without any answer in the end", f"{overall.unanswered:,}"),
        ("time without an outage", f"{100 * overall.available:.3f} %"),
        ("longest silence", f"{overall.longest_gap_s:.2f} s"),
        ("accepted p50 / p99", _both(overall.accepted_p50_ms, overall.accepted_p99_ms)),
        ("delivered p50 / p99", _both(overall.deliver_p50_ms, overall.deliver_p99_ms)),
        ("deliveries looked at", f"{checked.counts['deliveries']:,}"),
        ("machine slower by p50 / p99", f"× {checked.slowdown_p50} / {checked.slowdown_p99}"),
        ("faults", f"{summary.faults} of {len(summary.kinds)} kinds"),
    ]
    invariants = [
        (i.id, i.says, f"{i.looked_at:,}", "; ".join(f"{a.count} × {a.name}" for a in i.anomalies) or "none")
        for i in checked.invariants
    ]
    witnesses = [
        (i.id, a.name, " ".join(f"{name}={value}" for name, value in a.witness.items()))
        for i in checked.invariants
        for a in i.anomalies
    ]
    kinds = [
        (
            k.kind,
            f"{k.held}/{k.count}",
            _span(k.back_p50, k.back_max),
            _span(k.rto_p50, k.rto_max),
            f"{k.silence_max:.2f}",
        )
        for k in summary.kinds
    ]
    windows = {window.fault: window for window in checked.availability.faults}
    singles = [_single(windows[r.fault], r) for r in checked.recoveries]
    tables: list[Table] = [
        ("Figures", ("what", "measured"), [*figures]),
        ("Invariants", ("", "must hold", "looked at", "anomalies"), [*invariants]),
        ("Faults", ("kind", "held", "back s p50/max", "RTO s p50/max", "longest silence s"), [*kinds]),
        ("One by one", ONE_BY_ONE, [*singles]),
    ]
    if witnesses:
        tables.insert(2, ("First witnesses", ("", "anomaly", "witness"), [*witnesses]))
    if summary.left_out:
        tables.append(("Left out on this machine", ("kind", "why"), [*summary.left_out.items()]))
    return tables


def _single(window: Window, recovery: Recovery) -> Sequence[str]:
    return (
        f"{window.fault} {window.target}",
        f"{window.rto_s:.2f}",
        _both(window.accepted_p50_ms, window.accepted_p99_ms),
        _both(window.deliver_p50_ms, window.deliver_p99_ms),
        f"{recovery.returned}: {_both(recovery.returned_p50_ms, recovery.returned_p99_ms)}",
        _span(recovery.first_stored_s, recovery.drained_s),
    )


def _both(p50: float | None, p99: float | None) -> str:
    return "–" if p50 is None or p99 is None else f"{p50:,.1f} / {p99:,.1f} ms"


def _span(middle: float | None, most: float | None) -> str:
    return "–" if middle is None or most is None else f"{middle:.2f} / {most:.2f}"


def _headline(summary: Summary) -> tuple[str, str]:
    run, settings = summary.run, summary.run.settings
    about = (
        f"Commit {run.commit or 'unknown'}, seed {run.seed}, {settings.get('minutes')} minutes of faults, "
        f"{settings.get('rate')} deeds/s, {run.partitions} partitions."
    )
    return f"Chaos run {run.run}: {summary.checked.verdict}", about


def _markdown(summary: Summary) -> str:
    title, about = _headline(summary)
    lines = [f"# {title}", about, ""]
    lines += [f"- {text}" for text in (*summary.checked.unknown, *summary.notes)]
    for name, heads, rows in _tables(summary):
        lines += ["", f"## {name}", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.25rem .75rem;text-align:left;"
    "border-bottom:1px solid #ccc;vertical-align:top;overflow-wrap:anywhere}"
    ".valid{color:#0a6b2d}.invalid{color:#b3001b}.unknown{color:#8a5a00}"
)


def _html(summary: Summary) -> str:
    title, about = _headline(summary)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>",
        f"<style>{STYLE}</style><h1 class={summary.checked.verdict}>{escape(title)}</h1>",
        f"<p>{escape(about)}</p>",
    ]
    remarks = (*summary.checked.unknown, *summary.notes)
    if remarks:
        parts.append(f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in remarks)}</ul>")
    for name, heads, rows in _tables(summary):
        parts.append(f"<h2>{escape(name)}</h2><table><tr>{_cells('th', heads)}</tr>")
        parts += [f"<tr>{_cells('td', row)}</tr>" for row in rows]
        parts.append("</table>")
    return "\n".join(parts) + "\n"


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
