"""The Python SDK: `from gateway.client import Client`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.client.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    """Import the client when it is asked for, so that a command that needs only a part stays quick."""
    if name == "Client":
        from gateway.client.client import Client

        return Client
    raise AttributeError(name)
