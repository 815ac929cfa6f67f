"""Where a gateway is and how to knock: the URL and headers of a connection. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from schemas.errors import BadInput
from schemas.ids import is_name

__all__ = ["Address", "parse_url"]

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_PATH = "/v1/ws"


@dataclass(frozen=True, slots=True)
class Address:
    """A gateway, and the device that connects to it."""

    base: str
    host: str
    device_id: str
    platform: str

    @property
    def loopback(self) -> bool:
        """On this machine: no proxy has to be asked."""
        return self.host in ("localhost", "127.0.0.1", "::1")

    def connect_url(self, session_id: str | None) -> str:
        """The WebSocket to open; `session_id` asks to go on with a session that was cut."""
        query = {"device_id": self.device_id, "platform": self.platform}
        if session_id is not None:
            query["session_id"] = session_id
        return f"{self.base}{_PATH}?{urlencode(query)}"

    def http_url(self, path: str, **query: str) -> str:
        """The same place over HTTP."""
        asked = urlencode({name: value for name, value in query.items() if value})
        return f"http{self.base.removeprefix('ws')}{path}{'?' if asked else ''}{asked}"

    def elsewhere(self, url: str) -> Address:
        """The same device at another gateway. Raises `BadInput`."""
        return parse_url(url, self.device_id, self.platform)


def parse_url(url: str, device_id: str, platform: str) -> Address:
    """Read the address of a gateway: `http://host:port`, `ws://host:port` or the whole `…/v1/ws`.

    Raises `BadInput`.
    """
    try:
        parts = urlsplit(url)
        host, scheme = parts.hostname, _SCHEMES[parts.scheme]
    except (KeyError, ValueError):
        raise BadInput(
            f"the address of a gateway begins with http://, https://, ws:// or wss:// ({url!r})"
        ) from None
    if not host:
        raise BadInput(f"the address of a gateway needs a host ({url!r})")
    if not is_name(device_id):
        raise BadInput(f"a device_id is 1 to 64 letters, digits, '.', '_' and '-' ({device_id!r})")
    path = parts.path.rstrip("/").removesuffix(_PATH)
    return Address(f"{scheme}://{parts.netloc}{path}", host, device_id, platform)
