"""What goes to a process of the generator and what comes back: plain values that can be pickled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Connected", "ConversationCount", "Member", "Outcome", "Share", "Timing"]


@dataclass(frozen=True, slots=True)
class Member:
    """One connection. `sender` is its number among all that send, -1 for one that only listens."""

    token: str
    conversation_id: str = ""
    sender: int = -1


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a load that one process makes. `shared`: all are members of one group."""

    host: str
    port: int
    run: str
    members: list[Member]
    messages_per_s: float = 0.0
    base_seq: int = 1
    text: str = ""
    shared: bool = False
    connecting: int = 64
    """How many connections may be opening at once."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When to send, by the machine's monotonic clock. What is due during the warm-up is not measured."""

    start_us: int
    warmup_s: float
    measured_s: float
    grace_s: float

    @property
    def from_us(self) -> int:
        return self.start_us + int(self.warmup_s * 1e6)

    @property
    def until_us(self) -> int:
        return self.from_us + int(self.measured_s * 1e6)


@dataclass(frozen=True, slots=True)
class Connected:
    """How the opening of connections went; each time is one connection's, from its start to `welcome`."""

    count: int
    took_s: float
    times_us: list[int]
    resumed: int = 0


@dataclass(slots=True)
class ConversationCount:
    """What all local members of a conversation saw together."""

    base: int
    head: int = 0
    members: int = 0
    seen: int = 0

    @property
    def lost(self) -> int:
        """Messages that exist and that somebody did not get, counted for each of them."""
        return max(0, self.members * (self.head - self.base + 1) - self.seen)

    def add(self, other: ConversationCount) -> None:
        self.head = max(self.head, other.head)
        self.members += other.members
        self.seen += other.seen


@dataclass(slots=True)
class Outcome:
    """What one process, or all of them, measured. Latencies in µs, counted by value."""

    accepted_us: Counter[int] = field(default_factory=Counter)
    sent_us: Counter[int] = field(default_factory=Counter)
    delivered_us: Counter[int] = field(default_factory=Counter)
    late_us: Counter[int] = field(default_factory=Counter)
    delivered_in_window: int = 0
    sends: int = 0
    unanswered: int = 0
    repeated: int = 0
    reordered: int = 0
    rejections: Counter[int] = field(default_factory=Counter)
    untimed: int = 0
    """Temporary rejections that did not say when to come back."""
    closed: Counter[int] = field(default_factory=Counter)
    conversations: dict[str, ConversationCount] = field(default_factory=dict)
    settled_s: float = 0.0
    """How long after the last send the last answer came."""

    @property
    def undelivered(self) -> int:
        return sum(count.lost for count in self.conversations.values())

    def add(self, other: Outcome) -> None:
        """Take in what another process measured."""
        for mine, theirs in (
            (self.accepted_us, other.accepted_us),
            (self.sent_us, other.sent_us),
            (self.delivered_us, other.delivered_us),
            (self.late_us, other.late_us),
            (self.rejections, other.rejections),
            (self.closed, other.closed),
        ):
            mine.update(theirs)
        self.delivered_in_window += other.delivered_in_window
        self.sends += other.sends
        self.unanswered += other.unanswered
        self.repeated += other.repeated
        self.reordered += other.reordered
        self.untimed += other.untimed
        self.settled_s = max(self.settled_s, other.settled_s)
        for conversation_id, count in other.conversations.items():
            mine_too = self.conversations.setdefault(conversation_id, ConversationCount(count.base))
            mine_too.add(count)
