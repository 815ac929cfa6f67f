"""What pip-audit's report comes to: findings fail, and what could not be looked up is said aloud.

pip-audit -r requirements.lock --require-hashes --disable-pip -f json | python -m infra.advisories
"""

from __future__ import annotations

import sys

import msgspec

__all__ = ["Report", "summary"]


class _Vulnerability(msgspec.Struct):
    id: str
    fix_versions: list[str] = []


class _Package(msgspec.Struct):
    name: str
    version: str = ""
    vulns: list[_Vulnerability] = []
    skip_reason: str = ""


class Report(msgspec.Struct):
    dependencies: list[_Package]


def summary(report: Report) -> tuple[list[str], bool]:
    """(lines for a person, whether it may pass). Nothing found passes; packages not looked up are no pass
    by silence: a line names how many.
    """
    found = [
        f"✘ {package.name} {package.version}: {hole.id}"
        f" → {' or '.join(hole.fix_versions) or 'there is no fixed version yet'}"
        for package in report.dependencies
        for hole in package.vulns
    ]
    unknown = sum(bool(package.skip_reason) for package in report.dependencies)
    known = len(report.dependencies) - unknown
    mark = "✘" if found else "✔" if known else "!"
    lines = [*found, f"{mark} {known} packages looked up, {len(found)} advisories"]
    if unknown:
        lines.append(f"! {unknown} packages NOT looked up: the advisory service did not know or answer them")
    return lines, not found


def _main() -> int:
    data = sys.stdin.buffer.read()
    try:
        lines, passed = summary(msgspec.json.decode(data, type=Report))
    except msgspec.DecodeError:
        lines, passed = ["! NOTHING looked up: the advisory service cannot be reached"], True
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(_main())
