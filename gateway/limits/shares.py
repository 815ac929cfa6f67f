"""How a tenant's quota is dealt to the gateways. Pure.

Higher priorities first; within a priority max-min fair: who asks for little gets it, the others share
what is left evenly. What nobody asks for is dealt evenly too, so that whoever comes next finds some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["max_min", "shares"]


def max_min(amount: float, wanted: Mapping[str, float]) -> dict[str, float]:
    """Deal `amount`: nobody gets more than he wants, and nobody gets less than another who gets more."""
    dealt: dict[str, float] = {}
    left = amount
    for place, name in enumerate(sorted(wanted, key=lambda name: wanted[name])):
        dealt[name] = min(wanted[name], left / (len(wanted) - place))
        left -= dealt[name]
    return dealt


def shares(per_s: float, wanted: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Of `per_s`, the part of each gateway. They add up to `per_s`, if there is a gateway."""
    parts = dict.fromkeys(wanted, 0.0)
    left = per_s
    for priority in range(max(map(len, wanted.values()), default=0)):
        asked = {name: (by[priority] if priority < len(by) else 0.0) for name, by in wanted.items()}
        dealt = max_min(left, asked)
        for name, part in dealt.items():
            parts[name] += part
        left = max(0.0, left - sum(dealt.values()))
    return {name: part + left / len(parts) for name, part in parts.items()}
