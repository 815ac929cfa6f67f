"""How many sockets each ip holds. Pure."""

from __future__ import annotations

__all__ = ["Sockets"]


class Sockets:
    """Counts sockets, also those that have said nothing yet, against a bound in all and one for each ip.

    The name "" stands for those whose ip is not known yet, behind a proxy: it has no bound of its own.
    An ip is counted while it holds a socket, so this holds no more names than there are sockets.
    """

    def __init__(self, in_all: int, per_ip: int | None) -> None:
        self._in_all = in_all
        self._per_ip = per_ip
        self._held: dict[str, int] = {}
        self.count = 0

    def enter(self, ip: str) -> str | None:
        """One more. None if it may stay, otherwise which bound was met: then it is not counted."""
        if self.count >= self._in_all:
            return "gateway_full"
        held = self._held.get(ip, 0)
        if ip and self._per_ip is not None and held >= self._per_ip:
            return "ip_connections"
        self._held[ip] = held + 1
        self.count += 1
        return None

    def leave(self, ip: str) -> None:
        """One that had entered is gone."""
        self.count -= 1
        held = self._held[ip] - 1
        if held:
            self._held[ip] = held
        else:
            del self._held[ip]
