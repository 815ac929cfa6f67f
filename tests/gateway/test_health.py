"""Ready means that a message can pass."""

from __future__ import annotations

from infra.ports import Head
from schemas.errors import Unavailable
from tests.gateway.world import World


async def test_each_dependency_has_its_reason(world: World) -> None:
    """What is missing is named, and the others are not blamed for it."""
    health = world.gateway.health
    await health.look()
    assert health.ready

    async def away(_: str) -> Head | None:
        raise Unavailable("no host answers")

    world.history.head = away  # type: ignore[method-assign, assignment]
    await health.look()
    report = health.report()["dependencies"]
    assert isinstance(report, dict)
    assert not health.ready
    assert (report["cassandra"].ok, report["cassandra"].reason) == (False, "no host answers")
    assert report["kafka"].ok
    assert report["redis"].ok


async def test_a_stage_that_stands_still_is_seen(world: World) -> None:
    """A watermark that is missing or older than ten seconds."""
    health = world.gateway.health
    world.path.mark = _nothing  # type: ignore[method-assign]
    world.routes.flush()
    await health.look()
    report = health.report()["dependencies"]
    assert isinstance(report, dict)
    assert "no watermark" in report["pipeline"].reason
    late_ms = world.clock.now_ms() - 60_000
    for stage in ("fanout", "persistence"):
        await world.routes.set_watermarks(stage, {0: late_ms, 1: late_ms})
    await health.look()
    report = health.report()["dependencies"]
    assert isinstance(report, dict)
    assert "behind" in report["pipeline"].reason


async def test_a_stage_that_was_stopped_says_why(world: World) -> None:
    """Also one whose watermark no gateway looks at."""
    await world.routes.report_stopped("moderation", "101 records in a row failed")
    await world.gateway.health.look()
    report = world.gateway.health.report()["dependencies"]
    assert isinstance(report, dict)
    assert not world.gateway.health.ready
    assert report["pipeline"].reason == "moderation has stopped: 101 records in a row failed"


async def test_a_draining_gateway_is_not_ready(world: World) -> None:
    """Whatever its dependencies say."""
    await world.gateway.health.look()
    world.gateway.health.draining = True
    assert not world.gateway.health.ready


async def _nothing() -> None: ...
