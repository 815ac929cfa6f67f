"""How a trace looks on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from pipeline.ops.accounts.arrival import Arrival
from pipeline.ops.traces.trace import Trace

__all__ = ["print_trace"]

_MARKS = {"read": "✔✔", "delivered": "✔", "sender": "✔", "waiting": "…", "unacked": "…", "overdue": "✘"}


def print_trace(trace: Trace, console: Console) -> None:
    """The headline, a line for each hop, a line for each member."""
    at = datetime.fromtimestamp(trace.made_at_ms / 1000, UTC)
    sampled = trace.trace_id or "no"
    seq = f" #{trace.seq}" if trace.seq else ""
    headline = f"message {trace.conversation_id or trace.message_id}{seq} from {trace.sender or '?'}"
    time = f"{at:%Y-%m-%d %H:%M:%S}.{trace.made_at_ms % 1000:03d}Z"
    _say(console, f"{headline} · {time} · {trace.outcome} · trace sampled: {sampled}", "bold")
    for hop in trace.hops:
        after = f"{hop.after_ms:+,} ms" if hop.after_ms >= 0 else ""
        _say(console, f"{after:>10}   {hop.by:<12} {hop.what:<14} {hop.place:<28} {hop.text}")
    for arrival in trace.arrivals:
        _say(console, _member_line(trace, arrival), "red" if arrival.state == "overdue" else "")
    if trace.unlisted:
        _say(console, f"{'':>10}   … and {trace.unlisted:,} more members; ask for one with --to USER")
    if trace.outcome == "unknown":
        _say(
            console, "   no record of it around the time in its id: not accepted, or older than a week", "red"
        )
    if trace.outcome == "lost":
        _say(console, "   the stages have passed it and left nothing → im verify", "red")


def _member_line(trace: Trace, arrival: Arrival) -> str:
    after = ""
    if arrival.state in ("delivered", "read") and arrival.at_ms:
        after = f"{arrival.at_ms - trace.made_at_ms:+,} ms"
    where = f" ({', '.join(arrival.gateways)})" if arrival.gateways else ""
    muted = ", conversation muted" if arrival.muted else ""
    mark = _MARKS.get(arrival.state, " ")
    return f"{after:>10} {mark:<2}{arrival.user_id:<12} {arrival.state:<14} {arrival.text}{muted}{where}"


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line, style=style), soft_wrap=True)
