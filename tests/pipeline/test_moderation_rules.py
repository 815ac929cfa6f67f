"""pipeline/moderation/rules.py"""

from __future__ import annotations

import pytest

from pipeline.moderation.request import Request, read_request
from pipeline.moderation.rules import ACCEPTED, Verdict, judge, judge_repeat
from pipeline.moderation.words import WordFilter
from schemas.codes import Code
from schemas.conversation import ConversationState
from schemas.records import Policy, Rule
from tests.builders import an_inbound
from tests.pipeline.test_moderation_request import a_request_record

POLICY = Policy(
    7,
    [
        Rule("watch", "odd", "accept", ["tulip"]),
        Rule("swear", "abuse", "mask", ["heck"]),
        Rule("scam", "spam", "reject", ["free money"]),
    ],
)
WORDS = WordFilter(POLICY)


def a_request(text: str) -> Request:
    return read_request(a_request_record(an_inbound(text)))


def verdict_on(request: Request) -> Verdict:
    return judge(ConversationState.new("d:alice:bob"), request, WORDS, "missing")


@pytest.mark.parametrize(
    ("text", "verdict", "rules", "content"),
    [
        ("hello", "accept", (), None),
        ("a tulip", "accept", ("watch",), None),
        ("heck, a tulip", "mask", ("swear", "watch"), '{"text":"••••, a tulip"}'),
        ("heck, FREE MONEY", "reject", ("swear", "scam"), None),
    ],
)
def test_the_strictest_rule_wins(
    text: str, verdict: str, rules: tuple[str, ...], content: str | None
) -> None:
    """All rules that have a hit are named, and only words of masking rules are masked."""
    found = verdict_on(a_request(text))
    assert (found.verdict, set(found.rules), found.content) == (verdict, set(rules), content)


def test_a_rejection_names_the_class_of_the_rule() -> None:
    """The sender learns why, and not which word."""
    found = verdict_on(a_request("free money for a tulip"))
    assert found.code is Code.MODERATED
    assert "spam" in found.message
    assert "odd" not in found.message


def test_who_may_not_speak_is_told_so_whatever_he_says() -> None:
    """Rights come before words."""
    request = read_request(a_request_record(an_inbound("free money", sender="sam")))
    assert verdict_on(request).code is Code.NO_SUCH_CONVERSATION


def test_a_group_name_is_moderated_and_its_members_are_not() -> None:
    """An id is no text, also if it spells a listed word."""
    content = '{"action":"created","by":"alice","name":"heck of a group","members":["heck"]}'
    inbound = an_inbound(conversation_id="g:tea", kind="group", content=content)
    found = judge(ConversationState.new("g:tea"), read_request(a_request_record(inbound)), WORDS, "missing")
    assert found.content == content.replace("heck of", "•••• of")


def test_content_nested_too_deeply_is_answered() -> None:
    """As a bad frame, whether it can be parsed or not."""
    for depth in (100, 5_000):
        inbound = an_inbound(kind="custom", content='{"a":' + "[" * depth + "]" * depth + "}")
        assert verdict_on(read_request(a_request_record(inbound))).code is Code.BAD_FRAME


def test_a_request_that_would_outgrow_the_log_is_answered() -> None:
    """Later stages add to it, and a mask is longer than what it hides."""
    assert verdict_on(a_request("x" * 300_000)).code is Code.FRAME_TOO_LARGE


def test_a_repeat_is_accepted_again_without_its_listed_words() -> None:
    """It gets its first answer, also after its sender was silenced or the policy became stricter."""
    assert judge_repeat(a_request("hello"), WORDS) == ACCEPTED
    assert judge_repeat(a_request("heck"), WORDS).content == '{"text":"••••"}'
    again = judge_repeat(a_request("free money, heck"), WORDS)
    assert (again.verdict, again.content) == ("mask", '{"text":"••••••••••, ••••"}')


def test_without_words_nothing_is_looked_at() -> None:
    """The policy that nobody published."""
    nothing = WordFilter(Policy(0, []))
    assert judge(ConversationState.new("d:alice:bob"), a_request("heck"), nothing, "missing") is ACCEPTED
