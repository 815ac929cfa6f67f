"""Whose device each client is, and what belongs to whom."""

from __future__ import annotations

from tests.faults.checker.index import STATE_KINDS, Placed
from tests.faults.history import Client, ClientEvent, Settled

__all__ = ["Malformed", "People"]


class Malformed(ValueError):
    """The history breaks its own format: nothing can be said about the run."""


class People:
    """The clients of a run, as their logs introduce them."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.settled: set[str] = set()
        self.subscriptions: dict[str, set[str]] = {}

    def take_client(self, event: Client) -> None:
        self.clients[event.client] = event

    def take_settled(self, event: Settled) -> None:
        self.settled.add(event.client)

    def user(self, event: ClientEvent) -> str:
        """Whose client this is. Raises `Malformed` if its log does not begin with a `client` line."""
        found = self.clients.get(event.client)
        if found is None:
            raise Malformed(f"client {event.client!r} has a {type(event).__name__} before its client line")
        return found.user

    @staticmethod
    def is_own(user: str, session: str, message: Placed) -> bool:
        """Whether this connection is answered with `sent` or `ok` instead of being delivered the message."""
        if message.sender != user:
            return False
        return message.session == session or message.kind in STATE_KINDS
