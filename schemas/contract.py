"""The contract for machines, made from the frames, the records and the codes: AsyncAPI 3.1 and JSON Schema.

`make contract` writes both into `schemas/api/`; a test fails while they differ from what is made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from schemas.codec import load_schema
from schemas.codes import CloseCode, Code
from schemas.frames import SUBPROTOCOLS, ClientFrame, ServerFrame
from schemas.topics import TOPICS, Topic

__all__ = ["CONTRACT", "asyncapi", "documents", "frame_schemas"]

CONTRACT: Final = Path(__file__).parent / "api"
"""Where the documents are kept."""
_VERSION: Final = "1.0.0"
_AVRO_FORMAT: Final = "application/vnd.apache.avro;version=1.9.0"
_RECORD_FILES: Final = {
    "Message": "message",
    "Decision": "decision",
    "Receipt": "receipt",
    "PresenceChange": "presence",
}
_REF: Final = "#/components/schemas/{name}"
_CLIENT: Final = get_args(ClientFrame)
_SERVER: Final = get_args(ServerFrame)


def documents() -> dict[str, str]:
    """File name → text of everything that is kept in the folder."""
    return {"asyncapi.json": _text(asyncapi()), "frames.schema.json": _text(frame_schemas())}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI document: the session of a client, and the topics that anybody may read."""
    schemas = msgspec.json.schema_components([*_CLIENT, *_SERVER], ref_template=_REF)[1]
    public = [topic for topic in TOPICS if topic.public]
    frames = {_message_name(frame): _message_of(frame) for frame in (*_CLIENT, *_SERVER)}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Skein",
            "version": _VERSION,
            "description": "Client protocol v1, and the public topics. Receivers ignore unknown fields.",
            "x-error-codes": [_code(code) for code in Code],
            "x-close-codes": [_close_code(code) for code in CloseCode],
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {"host": "127.0.0.1:8080", "protocol": "ws"},
            "log": {"host": "127.0.0.1:19092", "protocol": "kafka"},
        },
        "channels": {"session": _session(frames)} | {topic.name: _topic(topic) for topic in public},
        "operations": {
            "clientSends": _operation("receive", "session", map(_message_name, _CLIENT)),
            "serverSends": _operation("send", "session", map(_message_name, _SERVER)),
        }
        | {f"read.{topic.name}": _operation("send", topic.name, ["record"]) for topic in public},
        "components": {"messages": frames, "schemas": dict(sorted(schemas.items()))},
    }


def frame_schemas() -> dict[str, Any]:
    """One JSON Schema (2020-12) with a definition for each frame; itself it fits any frame of either side."""
    _, definitions = msgspec.json.schema_components([*_CLIENT, *_SERVER], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Frames of Skein's client protocol v1",
        "anyOf": [{"$ref": f"#/$defs/{frame.__name__}"} for frame in (*_CLIENT, *_SERVER)],
        "$defs": dict(sorted(definitions.items())),
    }


def _session(frames: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": "/v1/ws",
        "servers": [{"$ref": "#/servers/gateway"}],
        "description": f"Subprotocols: {', '.join(SUBPROTOCOLS)}; the same objects in JSON and in msgpack.",
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {
                    "type": "object",
                    "properties": {
                        "device_id": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
                        "platform": {"enum": ["web", "ios", "android", "desktop", "server"]},
                        "session_id": {"type": "string"},
                        "token": {"type": "string"},
                    },
                },
            }
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in frames},
    }


def _message_name(frame: type[msgspec.Struct]) -> str:
    side = "client" if frame in _CLIENT else "server"
    return f"{side}.{frame.__struct_config__.tag}"


def _message_of(frame: type[msgspec.Struct]) -> dict[str, Any]:
    return {"name": str(frame.__struct_config__.tag), "payload": {"$ref": _REF.format(name=frame.__name__)}}


def _topic(topic: Topic) -> dict[str, Any]:
    record = load_schema(_RECORD_FILES[topic.record])
    return {
        "address": topic.name,
        "servers": [{"$ref": "#/servers/log"}],
        "description": f"Key: {topic.key}. Confluent wire format: 0x00, four bytes of schema id, Avro.",
        "messages": {
            "record": {
                "name": topic.record,
                "contentType": "avro/binary",
                "payload": {"schemaFormat": _AVRO_FORMAT, "schema": record},
            }
        },
    }


def _operation(action: str, channel: str, messages: Any) -> dict[str, Any]:
    """What the service does: it receives what clients send, and the other way round."""
    place = f"#/channels/{channel}"
    return {
        "action": action,
        "channel": {"$ref": place},
        "messages": [{"$ref": f"{place}/messages/{name}"} for name in messages],
    }


def _code(code: Code) -> dict[str, Any]:
    return {"code": int(code), "name": code.wire_name, "temporary": code.temporary, "http": code.http_status}


def _close_code(code: CloseCode) -> dict[str, Any]:
    return {"code": int(code), "name": code.name.lower(), "reconnect": code.reconnect}


def _text(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n"


if __name__ == "__main__":
    CONTRACT.mkdir(exist_ok=True)
    for name, text in documents().items():
        (CONTRACT / name).write_text(text)
