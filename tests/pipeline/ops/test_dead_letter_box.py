"""pipeline/ops/dead_letter_box.py"""

from __future__ import annotations

import pytest

from pipeline.ops.dead_letters.box import hex_dump, open_letters, select, show, state_of
from pipeline.ops.dead_letters.letters import Filter
from pipeline.ops.dead_letters.redrive import skip
from schemas.codec import INBOUND
from schemas.errors import BadInput
from tests.builders import an_inbound
from tests.pipeline.ops.desk import World


async def test_what_was_buried_twice_is_one_letter() -> None:
    """A stage that restarts before its commit buries the same record again."""
    world = World()
    for _ in range(2):
        await world.bury("moderation", b"junk", 7)
    await world.bury("moderation", b"junk", 8)
    letters, _ = await select(world.bus, Filter())
    assert [letter.offset for letter in letters] == [7, 8]


async def test_open_letters_come_in_the_order_of_their_origin() -> None:
    """Whenever they were buried."""
    world = World()
    for offset in (9, 7, 8):
        await world.bury("moderation", b"junk", offset)
    letters, _ = await open_letters(world.bus, Filter())
    assert [letter.offset for letter in letters] == [7, 8, 9]


async def test_a_skipped_letter_is_open_no_more() -> None:
    """It says by whom it was given up, and the reason is on im.audit."""
    world = World()
    await world.bury("moderation", b"junk", 7)
    await world.bury("moderation", b"junk", 8)
    letters, _ = await open_letters(world.bus, Filter(ids=("im.inbound[0]@7",)))
    assert await skip(world.doors, "ann", letters, "a test client's") == 1
    left, handled = await open_letters(world.bus, Filter())
    assert [letter.offset for letter in left] == [8]
    assert state_of(letters[0], handled) == "skipped by ann"
    assert "a test client's" in world.audits()[0].details


async def test_a_letter_is_shown_as_far_as_it_can_be_decoded() -> None:
    """Its content if today's code reads it; else the start of its bytes, and why not."""
    world = World()
    await world.bury("moderation", INBOUND.encode(an_inbound("hello")), 7)
    await world.bury("moderation", b"not avro", 8)
    (readable,) = await show(world.bus, "im.inbound[0]@7")
    (opaque,) = await show(world.bus, "1")
    assert readable.payload is not None
    assert readable.payload["content"] == {"text": "hello"}
    assert readable.dump == []
    assert opaque.payload is None
    assert opaque.undecodable.startswith("expected schema id 1")
    assert opaque.dump == ["00000000  6e 6f 74 20 61 76 72 6f                          not avro"]
    with pytest.raises(BadInput, match="no dead letter"):
        await show(world.bus, "im.inbound[0]@9")


def test_a_dump_shows_the_start_only() -> None:
    """256 bytes, 16 a line."""
    assert len(hex_dump(bytes(10_000))) == 16
    assert hex_dump(b"") == []
