"""Where users are in the lists that they page through over HTTP."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.progress import Progress

__all__ = ["MAX_PAGINGS", "Pagings"]

MAX_PAGINGS: Final = 1_000


class Pagings:
    """Keeps the latest paging of each user until its last page.

    One at a time: a second one of the same user begins the first one anew. Limits: `MAX_PAGINGS`
    users, the latest are kept; who is forgotten gets the first page again.
    """

    def __init__(self, max_users: int = MAX_PAGINGS) -> None:
        self._max_users = max_users
        self._pagings: OrderedDict[str, Progress] = OrderedDict()

    @contextmanager
    def of(self, user_id: str) -> Iterator[Progress]:
        """The user's paging, to be taken one page on; kept after it if there is more, or if it failed."""
        progress = self._pagings.pop(user_id, None) or Progress()
        try:
            yield progress
        finally:
            if progress.paging is not None:
                self._pagings[user_id] = progress
                if len(self._pagings) > self._max_users:
                    self._pagings.popitem(last=False)
