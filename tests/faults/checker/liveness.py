"""Nobody is left behind (I13): every send gets a definite answer soon after the last fault healed, and no
reader ends, or stays away, before the run does."""

from __future__ import annotations

from typing import Any, Final

from tests.faults.checker.faults import Faults
from tests.faults.checker.findings import Findings
from tests.faults.checker.outcomes import Outcome, Outcomes
from tests.faults.checker.patience import Patience
from tests.faults.checker.people import People
from tests.faults.history import Closed, Connect, Welcome

__all__ = ["ANSWER_S", "Liveness"]

ANSWER_S: Final = 30.0
"""How long a send may wait for its definite answer, on a machine of one's own: from its making, or from the
last healing if later."""


class Liveness:
    """Follows connections; `settle` judges them and the outcomes, once all events were taken."""

    def __init__(self, people: People, outcomes: Outcomes, patience: Patience, findings: Findings) -> None:
        self._people = people
        self._outcomes = outcomes
        self._patience = patience
        self._findings = findings
        self._newest: dict[str, Connect | Welcome | Closed] = {}

    def take(self, event: Connect | Welcome | Closed) -> None:
        self._newest[event.client] = event

    def settle(self, faults: Faults, ended_t: float) -> list[str]:
        """Report who was left behind; returns why the run shows less than it should."""
        calm_t = faults.last_healed_t or 0.0
        early = sum(self._too_early(outcome, calm_t, ended_t) for outcome in self._outcomes)
        if self._people.settled:
            for client in self._people.clients.values():
                if client.reader:
                    self._judge_reader(client.client, client.user)
        return [f"the run ended while {early} sends could still be answered in time"] if early else []

    def _too_early(self, outcome: Outcome, calm_t: float, ended_t: float) -> bool:
        """Judge a send; true if the run ended before that can be done."""
        deadline_t = self._patience.after(max(outcome.first_t, calm_t), ANSWER_S)
        certain_t = outcome.certain_t
        if not certain_t and 0.0 < outcome.given_up_t < deadline_t:
            return False  # its sender gave up while faults were at work: nobody was there to be answered
        if not certain_t and ended_t < deadline_t:
            return True
        self._findings.looked_at("I13")
        if not certain_t or certain_t > deadline_t:
            self._findings.add(
                "I13", "answered too late" if certain_t else "never answered", mid=outcome.mid,
                conversation=outcome.conversation, t=outcome.first_t, deadline_t=deadline_t,
                answered_t=certain_t, code=outcome.refused_code,
            )  # fmt: skip
        return False

    def _judge_reader(self, client: str, user: str) -> None:
        self._findings.looked_at("I13")
        if client in self._people.settled:
            return
        newest = self._newest.get(client)
        where: dict[str, Any] = {"client": client, "user": user, "newest": type(newest).__name__}
        if isinstance(newest, Closed):
            where |= {"t": newest.t, "code": newest.code, "reason": newest.reason}
            self._findings.add("I13", "a client ended for good", **where)
        else:
            self._findings.add("I13", "a client never caught up", **where)
