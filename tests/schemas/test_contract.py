"""The contract for machines agrees with the code, and is sound as a document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import avro.schema
import msgspec
import pytest
from jsonschema import Draft202012Validator

from schemas.contract import CONTRACT, asyncapi, documents, frame_schemas
from schemas.errors import Refused
from schemas.frames import JSON, ClientFrame, ServerFrame
from schemas.topics import TOPICS

ASYNCAPI = asyncapi()


@pytest.mark.parametrize("name", documents())
def test_what_is_kept_is_what_the_code_says(name: str) -> None:
    """If this fails: make contract."""
    assert (CONTRACT / name).read_text() == documents()[name]


def test_nothing_else_is_kept() -> None:
    """A document that is not made any more is no contract."""
    assert {path.name for path in CONTRACT.iterdir()} == set(documents())


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.parametrize("document", [ASYNCAPI, frame_schemas()], ids=["asyncapi", "frames"])
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Also those to names with dots in them."""
    for reference in set(references(document)):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found, reference


def test_every_frame_of_either_side_is_in_it_once() -> None:
    """With the name that is its type, in the operation of its side."""
    for side, frames, operation in (
        ("client", ClientFrame, "clientSends"),
        ("server", ServerFrame, "serverSends"),
    ):
        names = {f"{side}.{frame.__struct_config__.tag}" for frame in get_args(frames)}
        said = [m["$ref"].rpartition("/")[2] for m in ASYNCAPI["operations"][operation]["messages"]]
        assert set(said) == names
        assert len(said) == len(names)
        for name in names:
            assert f"{side}.{ASYNCAPI['components']['messages'][name]['name']}" == name


def test_the_public_topics_are_in_it_with_their_schemas() -> None:
    """As Avro that the reference implementation reads; others are not."""
    channels = set(ASYNCAPI["channels"]) - {"session"}
    assert channels == {topic.name for topic in TOPICS if topic.public}
    for name in channels:
        payload = ASYNCAPI["channels"][name]["messages"]["record"]["payload"]
        avro.schema.parse(json.dumps(payload["schema"]))


def test_the_schemas_are_schemas() -> None:
    """JSON Schema 2020-12; their patterns are read alike by Python and by ECMAScript."""
    Draft202012Validator.check_schema(frame_schemas())
    for pattern in re.findall(r'"pattern": "(.*?)"', documents()["frames.schema.json"]):
        re.compile(json.loads(f'"{pattern}"'))


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"send","client_msg_id":"m\\n","conversation_id":"d:a:b","kind":"text","content":{}}',
        b'{"type":"send","client_msg_id":"m","conversation_id":"x:a","kind":"text","content":{}}',
        b'{"type":"send","client_msg_id":"m","conversation_id":"d:a:b","kind":"system","content":{}}',
        b'{"type":"presence.subscribe","user_ids":["a\\n"]}',
        b'{"type":"history","conversation_id":"d:a:b","limit":201}',
        b'{"type":"read","conversation_id":"d:a:b","seq":-1}',
        b'{"type":"ack"}',
        b'{"type":"send","client_msg_id":"m","conversation_id":"d:a:b","kind":"text","content":{}}',
        b'{"type":"sync","token":null}',
        b'{"type":"history","conversation_id":"d:a:b","id":"x","more":1}',
        b'{"type":"ping","id":"x"}',
    ],
)
def test_schema_and_codec_take_the_same_frames(frame: bytes) -> None:
    """What one refuses, the other refuses."""
    schema = frame_schemas()
    sides = [{"$ref": f"#/$defs/{f.__name__}"} for f in get_args(ClientFrame)]
    validator = Draft202012Validator({"$defs": schema["$defs"], "anyOf": sides})
    try:
        JSON.parse_client(frame)
        taken = True
    except Refused:
        taken = False
    assert validator.is_valid(msgspec.json.decode(frame)) is taken
