"""Where users are in what they page through over HTTP."""

from __future__ import annotations

from gateway.pagings import Pagings
from gateway.progress import Progress


def a_page(pagings: Pagings, user_id: str, more: object | None) -> Progress:
    with pagings.of(user_id) as progress:
        progress.paging = more
    return progress


def test_a_paging_goes_on_until_its_last_page() -> None:
    """And another begins from nothing."""
    pagings = Pagings()
    first = a_page(pagings, "ann", more="rest")
    assert a_page(pagings, "bob", more=None) is not first
    assert a_page(pagings, "ann", more=None) is first
    assert a_page(pagings, "ann", more=None) is not first


def test_pagings_are_bounded() -> None:
    """In users; the latest are kept."""
    pagings = Pagings(max_users=2)
    kept = [a_page(pagings, user, more="rest") for user in ("ann", "bob", "cy")]
    assert a_page(pagings, "cy", more=None) is kept[2]
    assert a_page(pagings, "bob", more=None) is kept[1]
    assert a_page(pagings, "ann", more=None) is not kept[0]
