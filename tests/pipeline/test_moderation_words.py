"""pipeline/moderation/words.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.moderation.words import WordFilter, mask
from schemas.records import Policy, Rule


def a_filter(*words: str) -> WordFilter:
    return WordFilter(Policy(1, [Rule("r1", "abuse", "mask", list(words))]))


def masked(text: str, *words: str) -> str:
    return mask(text, a_filter(*words).find(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a heck of a day", "a •••• of a day"),
        ("HECK! heck", "••••! ••••"),
        ("what the h\u200beck", "what the •••••"),
        ("ｈｅｃｋ", "••••"),
        ("это плохо, да", "это •••••, да"),
        ("ПЛОХО", "•••••"),
        ("这是坏词吧", "这是••吧"),
        ("买heck吧", "买••••吧"),
    ],
)
def test_a_hit_is_masked_where_it_stands(text: str, expected: str) -> None:
    """Each of its characters becomes one •, everything around it stays as it was sent."""
    assert masked(text, "heck", "плохо", "坏词") == expected


def test_a_word_is_found_as_a_word() -> None:
    """Not inside a longer one, in scripts that put spaces between words."""
    assert masked("class pass ass", "ass") == "class pass •••"
    assert masked("неплохо", "плохо") == "неплохо"


def test_a_listed_phrase_and_a_listed_sign_are_found() -> None:
    """Spaces are part of a phrase; a sign has no word's edge."""
    assert masked("kill bill now", "kill bill") == "••••••••• now"
    assert masked("100€only", "€") == "100•only"


def test_a_long_word_hides_no_short_one() -> None:
    """All rules that have a hit speak, also inside the hit of another."""
    words = WordFilter(
        Policy(1, [Rule("mild", "a", "mask", ["kill bill"]), Rule("hard", "b", "reject", ["kill", "bill"])])
    )
    assert {hit.rule.id for hit in words.find("kill bill")} == {"mild", "hard"}


def test_one_word_in_two_rules_speaks_for_both() -> None:
    """A word is listed for each of its rules."""
    words = WordFilter(
        Policy(1, [Rule("one", "a", "accept", ["heck"]), Rule("two", "b", "mask", ["HECK", "heck"])])
    )
    assert [hit.rule.id for hit in words.find("heck")] == ["one", "two"]


def test_no_words_are_no_hits() -> None:
    """An empty policy, and words that fold to nothing."""
    assert WordFilter(Policy(0, [])).is_empty
    assert a_filter("\u200b", " ").is_empty
    assert list(a_filter().find("anything")) == []


@given(st.text(), st.lists(st.text(min_size=1, max_size=4), max_size=5))
def test_masking_touches_nothing_but_hits(text: str, words: list[str]) -> None:
    """The length stays, and a character is either itself or •."""
    result = masked(text, *words)
    assert len(result) == len(text)
    assert all(new in (old, "•") for old, new in zip(text, result, strict=True))


@given(st.text(alphabet="ab ", max_size=8), st.sampled_from(["ab", "a", "b a"]))
def test_a_word_between_spaces_is_always_found(around: str, word: str) -> None:
    """Wherever it stands."""
    assert "•" in masked(f"{around} {word} {around}", word)
