"""The accounts of a load: what is planted is reported, what is not is not."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.client.load.ledger import SendLedger, SeqLedger


def see(seqs: list[int]) -> SeqLedger:
    ledger = SeqLedger()
    for seq in seqs:
        ledger.delivered(seq, seq)
    return ledger


def test_a_perfect_run_has_nothing_to_report() -> None:
    """Contiguous deliveries and own places, which may be told early, are no finding."""
    ledger = see([1, 2])
    ledger.own(4)
    ledger.delivered(3, 3)
    ledger.delivered(5, 9)
    assert (ledger.missing(9), ledger.repeated, ledger.reordered) == (0, 0, 0)


@given(lost=st.sets(st.integers(1, 50), max_size=10))
def test_planted_losses_are_counted(lost: set[int]) -> None:
    """As many messages are reported lost as were left out, wherever they stood."""
    ledger = see([seq for seq in range(1, 51) if seq not in lost])
    assert ledger.missing(50) == len(lost)
    assert (ledger.repeated, ledger.reordered) == (0, 0)


@given(repeats=st.lists(st.integers(1, 30), max_size=10))
def test_planted_repeats_are_counted(repeats: list[int]) -> None:
    """Each repeated delivery counts once, and hides no loss."""
    ledger = see([*range(1, 31), *repeats])
    assert (ledger.missing(30), ledger.repeated) == (0, len(repeats))


@given(seed=st.integers(0, 10_000))
def test_any_reordering_is_noticed(seed: int) -> None:
    """A sequence of deliveries that is not rising is reported, one that is rising is not."""
    seqs = list(range(1, 20))
    random.Random(seed).shuffle(seqs)
    ledger = see(seqs)
    assert (ledger.reordered > 0) == (seqs != sorted(seqs))
    assert (ledger.missing(19), ledger.repeated) == (0, 0)


def test_sends_out_of_order_are_noticed() -> None:
    """Seqs that do not rise with the order of sending are reported, as are answers given twice."""
    ledger = SendLedger()
    ledger.sends = 4
    for index, seq in ((0, 1), (1, 3), (2, 2), (2, 2)):
        ledger.sent(index, seq)
    assert (ledger.reordered, ledger.repeated, ledger.unanswered) == (1, 1, 1)
