"""`python -m tests.faults.checker DIR [-o table|json]`: exit 0 valid, 1 invalid, 2 unknown."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from tests.faults.checker.check import MINIMUM_OK, check
from tests.faults.checker.people import Malformed
from tests.faults.checker.table import render
from tests.faults.folder import Folder

EXIT = {"valid": 0, "invalid": 1, "unknown": 2}


def main(arguments: list[str] | None = None) -> int:
    """Judge the run in a folder and say so. What is no history is unknown."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.checker", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the folder of a run")
    parser.add_argument("--minimum-ok", type=int, default=MINIMUM_OK, help="sends that must have gone well")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    try:
        report = check(Folder(options.folder), options.minimum_ok)
    except (Malformed, msgspec.DecodeError, OSError) as error:
        sys.stderr.write(f"✘ {options.folder} holds no history that can be judged: {error}\n")
        return EXIT["unknown"]
    if options.output == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    else:
        sys.stdout.write(render(report))
    return EXIT[report.verdict]


if __name__ == "__main__":
    sys.exit(main())
