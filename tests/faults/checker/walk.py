"""One walk through the logs of all clients: which pass takes which event, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults import history
from tests.faults.checker.accounts import Accounts
from tests.faults.checker.ephemeral import Ephemeral
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import Index
from tests.faults.checker.liveness import Liveness
from tests.faults.checker.outcomes import Outcomes
from tests.faults.checker.patience import Patience
from tests.faults.checker.people import People
from tests.faults.checker.progress import Progress
from tests.faults.checker.recovery import Returns
from tests.faults.checker.sockets import Sockets
from tests.faults.checker.source import Source
from tests.faults.checker.strays import Strays
from tests.faults.checker.tables import Stored
from tests.faults.checker.views import Views

__all__ = ["Walk"]


class Walk:
    """The passes over client events. `events` counts them."""

    def __init__(
        self, index: Index, accounts: Accounts, progress: Progress, patience: Patience, findings: Findings
    ) -> None:
        self.events = 0
        self.people = People()
        self.outcomes = Outcomes(self.people, index, accounts, findings)
        self.views = Views(self.people, index, accounts, progress, findings)
        self.liveness = Liveness(self.people, self.outcomes, patience, findings)
        self.returns = Returns()
        self._sockets = Sockets(self.people, self.views, findings)
        self._strays = Strays(self.people, index, accounts, findings)
        self._ephemeral = Ephemeral(self.people, index, progress, patience, findings)

    def go(self, source: Source, stored: Stored) -> None:
        """Take every event, then judge what only the end of the logs can tell."""
        takers = self._takers()
        for event in source.client_events():
            self.events += 1
            for take in takers.get(type(event), ()):
                take(event)
        self.outcomes.settle(stored)
        self.views.settle()
        self._sockets.settle()
        self._ephemeral.settle(self.views.state_seen_t)

    def _takers(self) -> dict[type, tuple[Callable[[Any], None], ...]]:
        """`Sockets` looks at a frame before `Views` remembers what was in it."""
        outcomes, views, sockets = self.outcomes, self.views, self._sockets
        strays, ephemeral, liveness = self._strays, self._ephemeral, self.liveness
        return {
            history.Client: (self.people.take_client,),
            history.Settled: (self.people.take_settled,),
            history.Connect: (liveness.take,),
            history.Welcome: (sockets.take_welcome, liveness.take, self.returns.take_welcome),
            history.Closed: (liveness.take, self.returns.take_closed),
            history.Send: (outcomes.take_send,),
            history.Accepted: (outcomes.take_accepted,),
            history.Sent: (outcomes.take_sent, views.take_sent),
            history.Rejected: (outcomes.take_rejected,),
            history.Unknown: (outcomes.take_unknown,),
            history.Request: (ephemeral.take_request,),
            history.Answer: (strays.take,),
            history.Deliver: (sockets.take_deliver, views.take_deliver, strays.take),
            history.Saw: (sockets.take_saw, views.take_saw),
            history.SyncAsked: (sockets.take_sync,),
            history.Page: (sockets.take_page, views.take_page, strays.take),
            history.GotHistory: (sockets.take_history, views.take_history, strays.take),
            history.Gap: (sockets.take_gap,),
            history.Receipt: (sockets.take_receipt, ephemeral.take_frame, strays.take),
            history.Typing: (ephemeral.take_frame, strays.take),
            history.Presence: (ephemeral.take_presence, strays.take),
            history.Pong: (strays.take,),
            history.Other: (strays.take,),
        }
