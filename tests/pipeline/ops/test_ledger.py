"""The books balance over any history the stages can write, and name exactly what was taken out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ops.accounts.ledger import Ledger, Leg, SeqWalk, Starts
from schemas.records import Routing
from schemas.topics import ACCEPTED, INBOUND, MESSAGES

Fate = Literal["sent", "rejected", "poison", "repeat", "poison_later", "unstorable"]
FATES: tuple[Fate, ...] = ("sent", "rejected", "poison", "repeat", "poison_later", "unstorable")


@dataclass
class History:
    """What the topics of one partition hold after each request met its fate, stages restarting meanwhile."""

    accepted: list[int] = field(default_factory=list)
    """im.accepted: the im.inbound offset of each record."""
    rejected: list[int] = field(default_factory=list)
    messages: list[Routing] = field(default_factory=list)
    letters: list[tuple[str, int]] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    inbound: int = 0

    def request(self, fate: Fate) -> None:
        source = self.inbound
        self.inbound += 1
        if fate == "rejected":
            self.rejected.append(source)
        elif fate == "poison":
            self.letters.append((INBOUND, source))
        else:
            self.accepted.append(source)
            self.place(len(self.accepted) - 1, fate)

    def place(self, offset: int, fate: Fate) -> None:
        if fate == "repeat":
            self.repeats.append(offset)
        elif fate == "poison_later":
            self.letters.append((ACCEPTED, offset))
        else:
            if fate == "unstorable":
                self.letters.append((MESSAGES, len(self.messages)))
            seq = 1 + max((m.seq for m in self.messages), default=0)
            self.messages.append(Routing(seq, offset, 1_000 + seq, "text", "gw-1"))

    def restart(self, back: int) -> None:
        """A worker starts again, and writes its newest records once more."""
        self.accepted += self.accepted[-back:]
        self.messages += self.messages[-back:]
        self.rejected += self.rejected[-back:]


@st.composite
def histories(draw: st.DrawFn) -> History:
    history = History()
    for fate in draw(st.lists(st.sampled_from(FATES), min_size=1, max_size=60)):
        history.request(fate)
        if draw(st.integers(0, 9)) == 0:
            history.restart(draw(st.integers(1, 4)))
    return history


def audit(
    history: History,
    *,
    rounds: int = 1,
    without_row: frozenset[int] = frozenset(),
    starts: Starts | None = None,
) -> Ledger:
    """Feed a ledger in so many rounds, and look once more at the end."""
    ledger = Ledger(0, starts or Starts(0, 0, 0))
    for number in range(1, rounds + 1):
        feed(ledger, history, number / rounds, (number - 1) / rounds, without_row)
    feed(ledger, history, 1.0, 1.0, without_row)
    return ledger


def feed(ledger: Ledger, history: History, to: float, since: float, without_row: frozenset[int]) -> None:
    def part(count: int) -> range:
        return range(int(count * since), int(count * to))

    for offset in part(len(history.accepted)):
        ledger.accepted(offset, history.accepted[offset])
    for index in part(len(history.rejected)):
        ledger.rejected(history.rejected[index])
    for offset in part(len(history.messages)):
        ledger.message(offset, "g:tea", history.messages[offset])
    for index in part(len(history.letters)):
        ledger.dead_letter(*history.letters[index])
    ledger.repeats(history.repeats)
    whole = to == 1.0  # only then is every outcome of what is committed among what was fed
    for wanted in ledger.to_find(len(history.messages)).values():
        ledger.found(wanted, {placed.seq: "id" for placed in wanted if placed.seq not in without_row})
    if whole:
        ledger.settle(history.inbound, len(history.accepted), len(history.messages))


@given(histories(), st.integers(1, 5))
def test_any_history_accounts_to_zero(history: History, rounds: int) -> None:
    """Whatever the fates, repeats and restarts, and however it is cut into rounds, nothing is unaccounted."""
    ledger = audit(history, rounds=rounds)
    assert ledger.decided.unaccounted() == []
    assert ledger.placed.unaccounted() == []
    assert ledger.stored.unaccounted() == []
    assert ledger.wrong == []


@given(histories())
def test_the_sums_agree(history: History) -> None:
    """accepted = sent + repeats + rejected + dead-lettered, and sent = stored + dead-lettered."""
    ledger = audit(history)
    decided, placed, stored = ledger.decided.counts, ledger.placed.counts, ledger.stored.counts
    assert decided["accepted"] + decided["rejected"] + decided["dead_lettered"] == history.inbound
    assert placed["sent"] + placed["repeat"] + placed["dead_lettered"] == decided["accepted"]
    assert stored["stored"] + stored["dead_lettered"] == placed["sent"]


@given(histories(), st.data())
def test_a_request_without_an_outcome_is_found(history: History, data: st.DataObject) -> None:
    """A request whose decision was dropped is named, and nothing but it."""
    lost = data.draw(st.integers(0, history.inbound))
    history.inbound += 1
    history.accepted = [source + (source >= lost) for source in history.accepted]
    history.rejected = [source + (source >= lost) for source in history.rejected]
    history.letters = [(topic, o + (topic == INBOUND and o >= lost)) for topic, o in history.letters]
    ledger = audit(history)
    assert ledger.decided.unaccounted() == [lost]
    assert ledger.placed.unaccounted() == ledger.stored.unaccounted() == []


@given(histories(), st.data())
def test_a_message_that_was_dropped_is_found(history: History, data: st.DataObject) -> None:
    """An Accepted whose Message is in no record is named, and so is the hole in its conversation."""
    sources = {m.source_offset for m in history.messages}
    if not sources or any(topic == MESSAGES for topic, _ in history.letters):
        return
    lost = data.draw(st.sampled_from(sorted(sources)))
    seq = next(m.seq for m in history.messages if m.source_offset == lost)
    newest = max(m.seq for m in history.messages)
    history.messages = [m for m in history.messages if m.source_offset != lost]
    ledger = audit(history)
    assert ledger.placed.unaccounted() == [lost]
    inside = 1 < seq < newest
    assert [(f.what, f.seq) for f in ledger.wrong] == ([("missing", seq)] if inside else [])


@given(histories(), st.data())
def test_a_row_that_was_dropped_is_found(history: History, data: st.DataObject) -> None:
    """A message without its row is named by its seq, and nothing but it."""
    buried = {history.messages[offset].seq for topic, offset in history.letters if topic == MESSAGES}
    seqs = {m.seq for m in history.messages} - buried
    if not seqs:
        return
    lost = data.draw(st.sampled_from(sorted(seqs)))
    ledger = audit(history, without_row=frozenset({lost}))
    assert [placed.seq for placed in ledger.missing_rows()] == [lost]


def test_what_is_not_committed_is_in_flight() -> None:
    """Records beyond what the stage has committed owe nothing yet."""
    ledger = Ledger(0, Starts(0, 0, 0), looks=1)
    ledger.accepted(0, 0)
    ledger.settle(1, 0, 0)
    assert ledger.decided.counts["accepted"] == 1
    assert ledger.placed.unaccounted() == []


def test_an_offset_is_named_only_after_the_second_look() -> None:
    """One look may be too early for what is written beside the log; an outcome found later settles it."""
    leg = Leg(0, looks=2)
    leg.settle(1)
    assert (leg.owing(), leg.unaccounted()) == ([0], [])
    leg.settle(1)
    assert leg.unaccounted() == [0]
    leg.note(0, "accepted")
    assert (leg.unaccounted(), leg.counts["accepted"]) == ([], 1)


def test_a_double_place_is_found() -> None:
    """A seq that is given a second time, to another message, is a double."""
    ledger = Ledger(0, Starts(0, 0, 0))
    for offset, seq in enumerate([1, 2, 2, 3]):
        ledger.message(offset, "g:tea", Routing(seq, offset, 1_000, "text", "gw-1"))
    assert [(f.what, f.seq) for f in ledger.wrong] == [("double", 2)]


def test_seqs_before_the_first_one_seen_are_not_asked_for() -> None:
    """Where an audit begins in the middle of a conversation, its first seq is taken as it is."""
    walk = SeqWalk()
    assert [walk.step("g:a", 7), walk.step("g:b", 1), walk.step("g:a", 8), walk.step("g:a", 11)] == [
        0,
        0,
        0,
        2,
    ]


def test_an_accounting_that_starts_later_asks_for_nothing_earlier() -> None:
    """Offsets before the start owe nothing, though their records are read for context."""
    history = History()
    for _ in range(6):
        history.request("sent")
    ledger = audit(history, starts=Starts(3, 3, 3), without_row=frozenset({1, 2}))
    assert ledger.decided.counts["accepted"] == 3
    assert list(ledger.missing_rows()) == []
    assert ledger.stored.counts["stored"] == 3
