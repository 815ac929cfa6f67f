"""outgoing.py and cast.py"""

from __future__ import annotations

from schemas import frames
from tests.faults.workload.cast import new_cast
from tests.faults.workload.outgoing import GIVE_UP_S, WAITING, Letter, Outgoing


def letter(name: str, conversation: str = "g:tea") -> Letter:
    return Letter(
        frames.Send(client_msg_id=name, conversation_id=conversation, kind="text", content={"text": name})
    )


def names(letters: object) -> list[str]:
    return [each.frame.client_msg_id for each in letters]  # type: ignore[attr-defined]


def test_one_send_at_a_time_in_a_conversation() -> None:
    """Nothing overtakes: the next goes when the one before has its answer; conversations do not wait."""
    outgoing = Outgoing()
    for each in (letter("1"), letter("2"), letter("3", "g:rain")):
        outgoing.add(each)
    assert names(outgoing.due(0.0)) == ["1", "3"]
    assert names(outgoing.due(1.0)) == []
    outgoing.finish("1")
    assert names(outgoing.due(2.0)) == ["2"]


def test_an_attempt_that_failed_is_made_again_in_its_place() -> None:
    """Under the same id, when its time has come, and counted."""
    outgoing = Outgoing()
    first = letter("1")
    for each in (first, letter("2")):
        outgoing.add(each)
    assert names(outgoing.due(0.0)) == ["1"]
    outgoing.try_again(first, 5.0)
    assert names(outgoing.due(4.0)) == []
    assert names(outgoing.due(5.0)) == ["1"]
    assert first.attempts == 2


def test_an_old_send_is_given_up_before_a_repeat_could_do_harm() -> None:
    """The server remembers ids for a while only."""
    outgoing = Outgoing()
    outgoing.add(letter("1"))
    list(outgoing.due(1.0))
    assert names(outgoing.too_old(GIVE_UP_S)) == []
    assert names(outgoing.too_old(GIVE_UP_S + 2.0)) == ["1"]


def test_only_so_many_wait_in_a_conversation() -> None:
    """While the system is away the workload does not pile up without end."""
    outgoing = Outgoing()
    for number in range(WAITING):
        assert outgoing.room("g:tea")
        outgoing.add(letter(str(number)))
    assert not outgoing.room("g:tea")
    assert outgoing.room("g:rain")


def test_the_same_seed_makes_the_same_cast() -> None:
    """Users with two devices, SDK and raw clients, groups on both sides of the threshold."""
    cast = new_cast(3)
    assert cast == new_cast(3)
    assert len({device.client for device in cast.devices}) == len(cast.devices)
    assert {device.sdk for device in cast.devices} == {True, False}
    sizes = [len(group.inside) for group in cast.groups]
    assert min(sizes) < 8 < max(sizes)
