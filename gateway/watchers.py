"""Which sessions of this gateway want to know whether somebody is there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.session import Session
from schemas.codes import Code
from schemas.errors import Refused

__all__ = ["MAX_WATCHED", "Watchers"]

MAX_WATCHED: Final = 500
"""Users that one session may watch."""


class Watchers:
    """The index in both directions. Nobody but who asked is ever found in it."""

    def __init__(self) -> None:
        self._of_user: dict[str, set[Session]] = {}
        self._of_session: dict[Session, set[str]] = {}

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._of_user

    def users(self) -> list[str]:
        """Everybody who is watched here."""
        return list(self._of_user)

    def of(self, user_id: str) -> Iterable[Session]:
        """Who watches this user."""
        return self._of_user.get(user_id, ())

    def watched_by(self, session: Session) -> Iterable[str]:
        return self._of_session.get(session, ())

    def add(self, session: Session, user_ids: Iterable[str]) -> None:
        """This session watches these users too. Raises `Refused` above `MAX_WATCHED`, and adds none then."""
        watched = self._of_session.get(session, set()).union(user_ids)
        if len(watched) > MAX_WATCHED:
            raise Refused(Code.NOT_ALLOWED, f"a session watches at most {MAX_WATCHED} users")
        self._of_session[session] = watched
        for user_id in watched:
            self._of_user.setdefault(user_id, set()).add(session)

    def remove(self, session: Session, user_ids: Iterable[str]) -> None:
        """This session does not watch these users any more."""
        watched = self._of_session.get(session, set())
        for user_id in watched.intersection(user_ids):
            watched.discard(user_id)
            sessions = self._of_user[user_id]
            sessions.discard(session)
            if not sessions:
                del self._of_user[user_id]
        if not watched:
            self._of_session.pop(session, None)

    def gone(self, session: Session) -> None:
        """This session is no more."""
        self.remove(session, list(self.watched_by(session)))
