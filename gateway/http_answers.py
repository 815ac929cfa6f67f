"""How HTTP requests are read and answered: JSON in, JSON out, an error as the object of the frame `error`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from schemas.codes import Code
from schemas.errors import BadInput, Refused, Unavailable
from schemas.frames import JSON, Error
from schemas.ids import new_name

__all__ = ["converted", "errors", "fields_of", "fields_with_key", "json_answer"]

_BODY_S: Final = 10.0
T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into its status and object."""
    try:
        return await handler(request)
    except Refused as refused:
        return _error(refused)
    except BadInput as error:
        return _error(Refused(Code.BAD_FRAME, str(error)))
    except Unavailable:
        return _error(Refused(Code.UNAVAILABLE, retry_after_ms=1_000))
    except web.HTTPRequestEntityTooLarge:
        return _error(Refused(Code.FRAME_TOO_LARGE))
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        response = json_answer(
            Error.of(Refused(Code.UNKNOWN_TYPE, "nothing answers this request")), error.status
        )
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


def _error(refused: Refused) -> web.Response:
    response = json_answer(Error.of(refused), refused.code.http_status)
    if refused.retry_after_ms is not None:
        response.headers["Retry-After"] = str(-(-refused.retry_after_ms // 1000))
    if refused.code is Code.BAD_TOKEN:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def json_answer(value: Any, status: int) -> web.Response:
    """This value as JSON, never cached."""
    return web.Response(
        body=JSON.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


async def fields_of(request: web.Request) -> dict[str, Any]:
    """The body, a JSON object. Raises `Refused` for anything else."""
    try:
        async with asyncio.timeout(_BODY_S):
            body = await request.read()
        return msgspec.json.decode(body, type=dict[str, Any])
    except TimeoutError:
        raise Refused(Code.BAD_FRAME, f"the body took longer than {_BODY_S:g} s") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(Code.BAD_FRAME, f"the body is no JSON object: {error}"[:200]) from None


async def fields_with_key(request: web.Request) -> dict[str, Any]:
    """The same, with `client_msg_id` from the header `Idempotency-Key`, or a fresh one if there is none."""
    fields = await fields_of(request)
    key = request.headers.get("Idempotency-Key")
    if key is not None:
        fields["client_msg_id"] = key
    fields.setdefault("client_msg_id", new_name())
    return fields


def converted(fields: dict[str, Any], frame: type[T]) -> T:
    """These fields as a frame, whatever type they name; texts count as numbers. Raises `Refused`."""
    fields.pop("type", None)
    try:
        return msgspec.convert(fields, frame, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(Code.BAD_FRAME, str(error)[:200]) from None
