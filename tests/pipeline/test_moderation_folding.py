"""pipeline/moderation/folding.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.moderation.folding import fold, fold_text


@pytest.mark.parametrize(
    "disguise",
    [
        "VIAGRA",
        "ＶＩＡＧＲＡ",
        "v\u200bi\u00ada\ufe0fg\u2060ra",
        "viаgrа",  # Cyrillic а
        "𝓿𝓲𝓪𝓰𝓻𝓪",
        "v\u0301ia\u0300gr\u0336a",
        "ⓥⓘⓐⓖⓡⓐ",
    ],
)
def test_disguises_fold_to_the_same_text(disguise: str) -> None:
    """Case, width, fonts, invisible characters, accents and look-alikes make no difference."""
    assert fold_text(disguise) == "viagra"


def test_ascii_look_alikes_stay_apart() -> None:
    """Two plain letters that look like another one are a word of their own."""
    assert fold_text("corn com 100 loo") == "corn com 100 loo"


def test_letters_of_other_scripts_keep_their_marks() -> None:
    """A Japanese voicing mark or a Devanagari vowel makes another letter; it is no accent."""
    assert fold_text("が") != fold_text("か")
    assert fold_text("कि") != fold_text("क")


def test_case_makes_no_difference_in_any_script() -> None:
    """Also where only the capital looks like a Latin letter."""
    assert fold_text("НЕТ") == fold_text("нет")
    assert fold_text("STRASSE") == fold_text("straße")


@given(st.text(), st.data())
def test_every_folded_character_knows_where_it_came_from(text: str, data: st.DataObject) -> None:
    """The part of the source that a span names folds to what stands in the span, or to more around it."""
    folded = fold(text)
    if not folded.text:
        return
    start = data.draw(st.integers(0, len(folded.text) - 1))
    end = data.draw(st.integers(start + 1, len(folded.text)))
    first, last = folded.span(start, end)
    assert 0 <= first < last <= len(text)
    assert folded.text[start:end] in fold_text(text[first:last])


@given(st.text())
def test_folding_works_character_by_character(text: str) -> None:
    """The neighbours of a character change nothing, so words can be folded apart from texts."""
    assert fold_text(text) == "".join(fold_text(character) for character in text)
