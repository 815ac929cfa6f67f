"""Who may not come in for a while. Pure.

Subjects are `user:<id>` and `ip:<ip>`. A suspension begins when a subject did too much in a window, or
when an operator says so. An attempt while it lasts counts it anew from there, up to a bound; what an
operator said is not changed by attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from infra.limits import MAX_SUSPENDED
from infra.ports import Suspension

__all__ = ["BY_OPERATOR", "Blacklist", "Held", "extended"]

BY_OPERATOR: Final = "operator"
_WORTH_TELLING_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Held:
    """A suspension by the monotonic clock of this process."""

    since: float
    until: float
    reason: str


def extended(held: Held, now: float, for_s: float, longest_s: float) -> Held:
    """After an attempt at this time. Never shorter than before, never beyond `longest_s` in all."""
    if held.reason == BY_OPERATOR:
        return held
    return replace(held, until=max(held.until, min(now + for_s, held.since + longest_s)))


class Blacklist:
    """The suspensions that this gateway knows, and those that other gateways are still to be told."""

    def __init__(self, for_s: float, longest_s: float) -> None:
        self._for_s = for_s
        self._longest_s = longest_s
        self.held: dict[str, Held] = {}
        """Also some that ended, until they are forgotten."""
        self._news: dict[str, Held] = {}
        self._untold: set[str] = set()
        """Those of the news that began here, and not only grew."""

    def __len__(self) -> int:
        return len(self.held)

    def left_ms(self, subject: str, now: float) -> int:
        """How long this subject stays out; 0: it does not."""
        held = self.held.get(subject)
        if held is None or held.until <= now:
            return 0
        return 1 + int(1000 * (held.until - now))

    def attempt(self, subject: str, now: float) -> int:
        """The subject tries to come in or to send: `left_ms`, counted anew if it is suspended."""
        held = self.held.get(subject)
        if held is None or held.until <= now:
            return 0
        longer = extended(held, now, self._for_s, self._longest_s)
        if longer.until - held.until >= _WORTH_TELLING_S:
            self.held[subject] = self._news[subject] = longer
        return self.left_ms(subject, now)

    def suspend(self, subject: str, reason: str, now: float) -> bool:
        """From now on; False if it is already. Above 10,000, the one that ends first is let go."""
        if self.left_ms(subject, now):
            return False
        if len(self.held) >= MAX_SUSPENDED:
            self._drop(min(self.held, key=lambda name: self.held[name].until))
        self.held[subject] = self._news[subject] = Held(now, now + self._for_s, reason)
        self._untold.add(subject)
        return True

    def take_news(self, now: float) -> dict[str, tuple[int, str]]:
        """What began or grew here since the last call: for how many ms from now, and why."""
        taken, self._news = self._news, {}
        self._untold.clear()
        return {
            subject: (int(1000 * (held.until - now)), held.reason)
            for subject, held in taken.items()
            if held.until > now
        }

    def tell_again(self) -> None:
        """The store lost what it was told, or never got it: all that is known here is news once more."""
        self._news = dict(self.held)
        self._untold = set(self.held)

    def learn(self, suspended: Mapping[str, Suspension], store_now_ms: int, now: float) -> list[str]:
        """What holds for all gateways; what began here and was not told yet holds besides. Returns who is
        new here. Who was lifted is free, though he may have tried again meanwhile."""
        offset = now - store_now_ms / 1000
        learnt = {
            subject: Held(offset + one.since_ms / 1000, offset + one.until_ms / 1000, one.reason)
            for subject, one in suspended.items()
        }
        self._news = {
            name: held for name, held in self._news.items() if name in learnt or name in self._untold
        }
        before, self.held = self.held, {**learnt, **self._news}
        return [name for name in learnt if name not in before]

    def forget_ended(self, now: float) -> None:
        """Let go whoever has served his time."""
        for subject in [name for name, held in self.held.items() if held.until <= now]:
            self._drop(subject)

    def _drop(self, subject: str) -> None:
        self.held.pop(subject, None)
        self._news.pop(subject, None)
        self._untold.discard(subject)
