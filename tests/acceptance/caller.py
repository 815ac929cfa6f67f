"""Somebody who knows the HTTP part of the protocol's page, and nothing else."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import aiohttp

from schemas.ids import new_name
from tests.acceptance.patience import until
from tests.acceptance.stranger import Frame

__all__ = ["Caller"]

Answer = tuple[int, Frame]
_KEYED: Final = {"/v1/messages", "/v1/broadcast"}
"""What may be asked again under the same key."""
_OPEN: Final = {HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE}
"""The end is not known yet, or there was no room: the page says to ask again."""


class Caller:
    """Requests of one user; an answer is (status, object)."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http = http
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        """The answer; what has a key is asked again until the answer is an end."""
        if path not in _KEYED:
            return await self._ask("POST", path, headers, json=body)
        if isinstance(body, dict) and "client_msg_id" not in body:
            headers.setdefault("Idempotency_Key", new_name())
        return await until(
            lambda: self._ask("POST", path, headers, json=body), lambda answer: answer[0] not in _OPEN
        )

    async def post_raw(self, path: str, body: bytes) -> Answer:
        return await self._ask("POST", path, {}, data=body)

    async def get(self, path: str) -> Answer:
        return await self._ask("GET", path, {})

    async def _ask(self, method: str, path: str, headers: dict[str, str], **body: Any) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._http.request(
            method, f"{self._url}{path}", headers={**self._headers, **named}, **body
        ) as response:
            return response.status, await response.json()
