"""pipeline/moderation/rights.py"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.moderation.request import Request, read_request
from pipeline.moderation.rights import EDIT_WINDOW_MS, RECALL_WINDOW_MS, Target, refusal
from schemas.codes import Code
from schemas.conversation import ConversationState, fold
from schemas.records import Kind
from schemas.tables import HistoryRow
from tests.builders import an_inbound
from tests.pipeline.test_moderation_request import a_request_record

NOW_MS = 1_700_000_000_000
CREATED = '{"action":"created","by":"olga","name":"Tea","members":["ada","adam","max","mia","lee"]}'
GROUP = [
    (1, "group", CREATED),
    (2, "member", '{"action":"role","by":"olga","users":["ada","adam"],"role":"admin"}'),
    (3, "member", '{"action":"left","by":"lee","users":["lee"]}'),
]
"""olga owns it, ada and adam are admins, max and mia are members, lee has left; sam never was one."""


def group(*events: str) -> ConversationState:
    more = [(number, "member", event) for number, event in enumerate(events, start=4)]
    return fold("g:tea", [*GROUP, *more])  # type: ignore[list-item]


def asks(sender: str, kind: Kind, content: Any, conversation_id: str = "g:tea") -> Request:
    text = msgspec.json.encode(content).decode()
    return read_request(
        a_request_record(an_inbound(sender=sender, kind=kind, content=text, conversation_id=conversation_id))
    )


def says(sender: str, conversation_id: str = "g:tea") -> Request:
    return asks(sender, "text", {"text": "hi"}, conversation_id)


def changes(sender: str, action: str, users: list[str] | None = None, **fields: Any) -> Request:
    kind: Kind = "group" if action in ("created", "renamed", "dissolved") else "member"
    names = {} if users is None else {"members" if action == "created" else "users": users}
    return asks(sender, kind, {"action": action, "by": sender, **names, **fields})


def row(sender: str, age_ms: int = 0, kind: Kind = "text", recalled: bool = False) -> HistoryRow:
    return HistoryRow("g:tea", 9, "id", sender, "m", kind, "{}", NOW_MS - age_ms, 0, [], 0, recalled)


def refused(state: ConversationState, request: Request, target: Target = "missing") -> Code | None:
    return refusal(state, request, target)


# Who is inside


@pytest.mark.parametrize(
    ("sender", "code"),
    [("olga", None), ("max", None), ("lee", Code.NOT_A_MEMBER), ("sam", Code.NO_SUCH_CONVERSATION)],
)
def test_members_may_speak(sender: str, code: Code | None) -> None:
    """An ex-member is told so; to a stranger the group does not exist."""
    assert refused(group(), says(sender)) == code


def test_a_conversation_that_does_not_exist_answers_like_one_that_does_to_a_stranger() -> None:
    """Nobody can find out which groups there are by writing to them."""
    nowhere = ConversationState.new("g:tea")
    assert refused(nowhere, says("sam")) == refused(group(), says("sam")) == Code.NO_SUCH_CONVERSATION
    assert refused(ConversationState.new("c:news"), says("sam", "c:news")) == Code.NO_SUCH_CONVERSATION


def test_a_direct_conversation_is_for_its_two_users() -> None:
    """It needs no creation, and does not exist for anybody else."""
    direct = ConversationState.new("d:alice:bob")
    assert refused(direct, says("alice", "d:alice:bob")) is None
    assert refused(direct, says("bob", "d:alice:bob")) is None
    assert refused(direct, says("sam", "d:alice:bob")) == Code.NO_SUCH_CONVERSATION


def test_a_dissolved_group_is_over_for_everybody() -> None:
    """Its members became ex-members, and its id is not given out again."""
    state = fold("g:tea", [*GROUP, (4, "group", '{"action":"dissolved","by":"olga"}')])  # type: ignore[list-item]
    assert refused(state, says("olga")) == Code.NOT_A_MEMBER
    assert refused(state, changes("sam", "created", [], name="Mine")) == Code.NOT_ALLOWED


# Blocks and mutes


def test_who_is_blocked_cannot_write_and_who_blocks_can() -> None:
    """Until the block is taken back."""
    block = (1, "member", '{"action":"blocked","by":"bob","users":["alice"]}')
    free = (2, "member", '{"action":"unblocked","by":"bob","users":["alice"]}')
    blocked = fold("d:alice:bob", [block])  # type: ignore[list-item]
    assert refused(blocked, says("alice", "d:alice:bob")) == Code.BLOCKED
    assert refused(blocked, asks("alice", "reaction", {"seq": 1, "emoji": "x", "add": True}, "d:alice:bob"))
    assert refused(blocked, says("bob", "d:alice:bob")) is None
    assert refused(fold("d:alice:bob", [block, free]), says("alice", "d:alice:bob")) is None  # type: ignore[list-item]


def test_a_mute_silences_one_member_until_its_time() -> None:
    """The gateway's time of the request counts, whenever it is judged."""
    for until_ms, code in ((NOW_MS + 1, Code.MUTED), (NOW_MS, None)):
        state = group(f'{{"action":"muted","by":"ada","users":["max"],"until_ms":{until_ms}}}')
        assert refused(state, says("max")) == code
        assert refused(state, says("mia")) is None


def test_a_mute_of_all_spares_owner_and_admins() -> None:
    """They keep speaking to the others."""
    state = group(f'{{"action":"muted","by":"ada","until_ms":{NOW_MS + 1}}}')
    assert [refused(state, says(user)) for user in ("olga", "ada", "max")] == [None, None, Code.MUTED]


def test_a_muted_member_may_still_leave_and_recall() -> None:
    """A mute silences, it does not hold anybody."""
    state = group(f'{{"action":"muted","by":"ada","users":["max"],"until_ms":{NOW_MS + 1}}}')
    assert refused(state, changes("max", "left", ["max"])) is None
    assert refused(state, asks("max", "recall", {"seq": 9}), row("max")) is None
    assert refused(state, asks("max", "edit", {"seq": 9, "content": {"text": "x"}}), row("max")) == Code.MUTED


# Recalls and edits


@pytest.mark.parametrize(
    ("sender", "target", "code"),
    [
        ("max", row("max", RECALL_WINDOW_MS), None),
        ("max", row("max", RECALL_WINDOW_MS + 1), Code.RECALL_TOO_LATE),
        ("max", row("mia"), Code.NOT_ALLOWED),
        ("ada", row("max", 10 * RECALL_WINDOW_MS), None),
        ("ada", row("lee"), None),
        ("ada", row("adam"), Code.NOT_ALLOWED),
        ("ada", row("olga"), Code.NOT_ALLOWED),
        ("olga", row("ada"), None),
        ("max", row("max", recalled=True), Code.RECALL_TOO_LATE),
        ("max", row("max", kind="member"), Code.NOT_ALLOWED),
        ("max", "missing", Code.NOT_ALLOWED),
        ("max", "not_yet", Code.UNAVAILABLE),
        ("lee", row("lee"), Code.NOT_A_MEMBER),
    ],
)
def test_recalls(sender: str, target: Target, code: Code | None) -> None:
    """Own messages for two minutes; owner and admins those of lower ranks at any time."""
    assert refused(group(), asks(sender, "recall", {"seq": 9}), target) == code


@pytest.mark.parametrize(
    ("sender", "target", "code"),
    [
        ("max", row("max", EDIT_WINDOW_MS), None),
        ("max", row("max", EDIT_WINDOW_MS + 1), Code.RECALL_TOO_LATE),
        ("max", row("max", recalled=True), Code.RECALL_TOO_LATE),
        ("olga", row("max"), Code.NOT_ALLOWED),
        ("max", "missing", Code.NOT_ALLOWED),
    ],
)
def test_edits(sender: str, target: Target, code: Code | None) -> None:
    """Nobody puts words into another's mouth."""
    assert refused(group(), asks(sender, "edit", {"seq": 9, "content": {"text": "x"}}), target) == code


def test_in_a_direct_conversation_nobody_has_a_rank() -> None:
    """Each recalls what he said himself."""
    direct = ConversationState.new("d:alice:bob")
    recall = asks("alice", "recall", {"seq": 9}, "d:alice:bob")
    assert refused(direct, recall, row("bob")) == Code.NOT_ALLOWED
    assert refused(direct, recall, row("alice")) is None


# Changes


@pytest.mark.parametrize("sender", ["olga", "max", "lee", "sam"])
def test_a_group_is_created_once(sender: str) -> None:
    """A second creation is refused alike for members and strangers; the first is anybody's right."""
    request = changes(sender, "created", ["max"], name="Tea")
    assert refused(group(), request) == Code.NOT_ALLOWED
    assert refused(ConversationState.new("g:tea"), request) is None


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        (changes("olga", "renamed", name="T"), True),
        (changes("ada", "renamed", name="T"), True),
        (changes("max", "renamed", name="T"), False),
        (changes("olga", "dissolved"), True),
        (changes("ada", "dissolved"), False),
        (changes("max", "joined", ["sam"]), True),
        (changes("max", "joined", ["sam", "mia"]), True),
        (changes("max", "joined", []), False),
        (changes("max", "joined", ["sam"], role="owner"), False),
        (changes("ada", "removed", ["max", "mia"]), True),
        (changes("ada", "removed", ["sam"]), True),
        (changes("ada", "removed", ["max", "adam"]), False),
        (changes("ada", "removed", ["olga"]), False),
        (changes("olga", "removed", ["ada"]), True),
        (changes("olga", "removed", ["olga"]), False),
        (changes("max", "removed", ["mia"]), False),
        (changes("max", "left", ["max"]), True),
        (changes("olga", "left", ["olga"]), True),
        (changes("olga", "left", ["max"]), False),
        (changes("olga", "role", ["max"], role="admin"), True),
        (changes("olga", "role", ["max"], role="owner"), True),
        (changes("olga", "role", ["sam"], role="admin"), False),
        (changes("olga", "role", ["olga"], role="member"), False),
        (changes("olga", "role", ["max"]), False),
        (changes("ada", "role", ["max"], role="admin"), False),
        (changes("ada", "muted", ["max"], until_ms=5), True),
        (changes("ada", "muted", [], until_ms=5), True),
        (changes("ada", "muted", ["adam"], until_ms=5), False),
        (changes("ada", "muted", ["sam"], until_ms=5), False),
        (changes("ada", "muted", ["max"]), False),
        (changes("max", "muted", ["mia"], until_ms=5), False),
        (changes("max", "blocked", ["mia"]), False),
    ],
    ids=lambda value: f"{value.inbound.sender}-{value.inbound.content}" if isinstance(value, Request) else "",
)
def test_changes_to_a_group(request_: Request, allowed: bool) -> None:
    """By rank: the owner above the admins above the members."""
    assert refused(group(), request_) == (None if allowed else Code.NOT_ALLOWED)


def test_strangers_and_former_members_change_nothing() -> None:
    """They get the answers that writing gets."""
    assert refused(group(), changes("sam", "joined", ["sam"])) == Code.NO_SUCH_CONVERSATION
    assert refused(group(), changes("lee", "joined", ["lee"])) == Code.NOT_A_MEMBER


def test_each_of_two_users_may_block_the_other() -> None:
    """Not himself, not a third, and nothing else of a group's changes fits here."""
    direct = ConversationState.new("d:alice:bob")

    def event(action: str, users: list[str]) -> Request:
        return asks("alice", "member", {"action": action, "by": "alice", "users": users}, "d:alice:bob")

    assert refused(direct, event("blocked", ["bob"])) is None
    assert refused(direct, event("unblocked", ["bob"])) is None
    assert refused(direct, event("blocked", ["alice"])) == Code.NOT_ALLOWED
    assert refused(direct, event("blocked", ["sam"])) == Code.NOT_ALLOWED
    assert refused(direct, event("joined", ["sam"])) == Code.NOT_ALLOWED
    assert refused(direct, event("left", ["alice"])) == Code.NOT_ALLOWED


def test_a_blocked_user_may_block_too() -> None:
    """A block silences; it takes no right to block in turn."""
    blocked = fold("d:alice:bob", [(1, "member", '{"action":"blocked","by":"bob","users":["alice"]}')])
    back = {"action": "blocked", "by": "alice", "users": ["bob"]}
    assert refused(blocked, asks("alice", "member", back, "d:alice:bob")) is None


# Channels

CHANNEL = [
    (1, "group", '{"action":"created","by":"ops","name":"News","members":["ada","max"]}'),
    (2, "member", '{"action":"role","by":"ops","users":["ada"],"role":"admin"}'),
    (3, "member", '{"action":"left","by":"max","users":["max"]}'),
    (4, "member", '{"action":"joined","by":"mia","users":["mia"]}'),
]
"""ops owns it, ada is an admin, mia a member, max has left; sam never was one."""
NEWS = fold("c:news", CHANNEL)  # type: ignore[arg-type]


def moves(sender: str, action: str, *users: str) -> Request:
    return asks(sender, "member", {"action": action, "by": sender, "users": list(users)}, "c:news")


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("ops", None),
        ("ada", None),
        ("mia", Code.NOT_ALLOWED),
        ("max", Code.NOT_A_MEMBER),
        ("sam", Code.NO_SUCH_CONVERSATION),
    ],
)
def test_owner_and_admins_write_in_a_channel(sender: str, code: Code | None) -> None:
    """Its members read."""
    assert refused(NEWS, says(sender, "c:news")) == code
    reaction = asks(sender, "reaction", {"seq": 1, "emoji": "x", "add": True}, "c:news")
    assert refused(NEWS, reaction) == code


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (moves("sam", "joined", "sam"), None),
        (moves("max", "joined", "max"), None),
        (moves("mia", "joined", "mia"), None),
        (moves("sam", "joined", "max"), Code.NO_SUCH_CONVERSATION),
        (moves("sam", "joined", "sam", "max"), Code.NO_SUCH_CONVERSATION),
        (moves("mia", "joined", "sam"), Code.NOT_ALLOWED),
        (moves("ada", "joined", "sam"), None),
        (moves("mia", "left", "mia"), None),
        (moves("sam", "left", "sam"), Code.NO_SUCH_CONVERSATION),
        (moves("ada", "removed", "mia"), None),
        (moves("mia", "removed", "ada"), Code.NOT_ALLOWED),
    ],
)
def test_anybody_joins_a_channel_himself(request_: Request, code: Code | None) -> None:
    """Nobody but owner and admins brings others; who left may come again."""
    assert refused(NEWS, request_) == code


def test_nobody_joins_a_channel_that_does_not_exist() -> None:
    """Nor one that was dissolved, nor a group in this way."""
    gone = fold("c:news", [*CHANNEL, (5, "group", '{"action":"dissolved","by":"ops"}')])  # type: ignore[list-item]
    for state in (ConversationState.new("c:news"), gone):
        assert refused(state, moves("sam", "joined", "sam")) == Code.NO_SUCH_CONVERSATION
    assert refused(group(), changes("sam", "joined", ["sam"])) == Code.NO_SUCH_CONVERSATION


@pytest.mark.parametrize("conversation_id", ["c:news", "g:tea", "d:bob:ops"])
def test_the_service_speaks_wherever_there_is_somebody(conversation_id: str) -> None:
    """Not a member, muted or blocked: `system` is said by nobody else; but not where nothing is."""
    event = (1, "group", '{"action":"created","by":"olga","name":"Tea","members":[]}')
    block = (1, "member", '{"action":"blocked","by":"bob","users":["ops"]}')
    direct = conversation_id.startswith("d:")
    state = fold(conversation_id, [block if direct else event])  # type: ignore[list-item]
    notice = asks("ops", "system", {"text": "hi"}, conversation_id)
    assert refused(state, notice) is None
    if not direct:
        assert refused(ConversationState.new(conversation_id), notice) == Code.NO_SUCH_CONVERSATION
