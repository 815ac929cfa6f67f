"""`python -m tests.sim SEED [--trace]` replays a seed; `python -m tests.sim --seeds N` runs many."""

from __future__ import annotations

import argparse
import sys

from tests.sim.many import play_many, report
from tests.sim.tracing import quiet_logs, trace_logs
from tests.sim.world import play


def main() -> int:
    """0: every promise held; 1: one was broken, or a fault never happened; 2: used wrongly."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="the seed to replay")
    parser.add_argument("--trace", action="store_true", help="print what happened, with its simulated time")
    parser.add_argument("--seeds", type=int, default=0, help="how many seeds to run")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    if given.seeds:
        return report(play_many(given.first, given.seeds, given.processes, sys.stderr))
    if given.seed is None:
        parser.error("name a seed, or how many with --seeds")
    return _replay(given.seed, given.trace)


def _replay(seed: int, trace: bool) -> int:
    if trace:
        trace_logs()
    else:
        quiet_logs()
    outcome = play(seed, trace)
    lines = [*outcome.trace, *(f"✘ {violation}" for violation in outcome.violations)]
    lines.append(
        f"seed {seed}: {outcome.messages} messages in {outcome.simulated_s:.0f} simulated seconds, "
        f"{sum(outcome.happened.values())} faults, {len(outcome.violations)} violations"
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
