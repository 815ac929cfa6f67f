"""Bugs on the way down: whom fan-out addresses, what gateways hand over, what readers are given."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from tests.faults import history
from tests.faults.dumps import MessageRow
from tests.faults.specimen.bugs import Broken, plant
from tests.faults.specimen.device import Device
from tests.faults.specimen.path import Ask, Connection, Placed

LATE_S: Final = 40.0

# Whom it is for


@plant("fan-out to stale members", "I5", "fanned out to a non-member")
class StaleMembers(Broken):
    due_at = 1

    def audience(self, placed: Placed) -> set[str]:
        users = super().audience(placed)
        gone = set(self.stays(placed.ask.conversation)) - users
        return users | gone if self.due(bool(gone) and self.is_text(placed)) else users


@plant("a gateway's index keeps who left", "I5", "seen from after the leave")
class StaleIndex(Broken):
    due_at = 1

    def fan_out(self, placed: Placed) -> None:
        super().fan_out(placed)
        stays = self.stays(placed.ask.conversation)
        for device in self.devices:
            left = device.user in stays and 0 < stays[device.user][-1][1] < placed.seq
            if self.due(left and self.is_raw(device)):
                self.hand_over(device, placed)


@plant("history shows what came before the join", "I5", "seen from before the join")
class HistoryBeforeJoin(Broken):
    due_at = 1

    def before(self, user: str, conversation: str, seq: int, limit: int) -> list[int]:
        seqs = super().before(user, conversation, seq, limit)
        first = min((first for first, _ in self.stays(conversation).get(user, ())), default=0)
        if self.due(first > 1 and bool(seqs) and seqs[-1] == first):
            return [*seqs, first - 1]
        return seqs


@plant("a quote shows what came after the leave", "I5", "text from outside the stay")
class StrayFromOutside(Broken):
    due_at = 1

    def fan_out(self, placed: Placed) -> None:
        super().fan_out(placed)
        stays = self.stays(placed.ask.conversation)
        for device in self.devices:
            left = device.user in stays and 0 < stays[device.user][-1][1] < placed.seq
            if self.is_text(placed) and isinstance(device, Device) and self.due(left and self.is_raw(device)):
                mid = f"{placed.ask.sender}/{placed.ask.client_msg_id}"
                device.log(history.Other, frame="error", strays=[mid])


@plant("a session id is used twice", "I6", "a conversation on a foreign socket")
class ForeignSocket(Broken):
    due_at = 1

    def fan_out(self, placed: Placed) -> None:
        super().fan_out(placed)
        for device in self.devices:
            stranger = device.user not in self.stays(placed.ask.conversation) and self.is_raw(device)
            if self.due(stranger and placed.ask.conversation.startswith("d:")):
                self.hand_over(device, placed)


@plant("a buffer is shared between sockets", "I6", "private text on a foreign socket")
class SharedBuffer(Broken):
    due_at = 1

    def fan_out(self, placed: Placed) -> None:
        super().fan_out(placed)
        mid = f"{placed.ask.sender}/{placed.ask.client_msg_id}"
        for device in self.devices:
            stranger = device.user not in self.stays(placed.ask.conversation) and self.is_raw(device)
            if isinstance(device, Device) and self.due(stranger and self.is_text(placed)):
                device.log(history.Pong, strays=[mid])


@plant("typing goes to everybody", "I12", "typing misrouted")
class TypingToAll(Broken):
    due_at = 1

    def hears_typing(self, user: str, conversation: str) -> bool:
        hears = super().hears_typing(user, conversation)
        return hears or self.due(conversation.startswith("d:"))


@plant("presence goes to strangers", "I12", "presence that nobody asked for")
class PresenceToStrangers(Broken):
    due_at = 1

    def presence(self, subscribed: str) -> str:
        return "zoe" if self.due() else subscribed


@plant("receipts are kept like messages", "I12", "ephemeral frame kept like a message")
class ReceiptsKept(Broken):
    def publish_outbound(self, gateway: str, placed: Placed, users: list[str]) -> None:
        super().publish_outbound(gateway, placed, users)
        if self.due():
            topic = self.history.outbound(gateway)
            topic[-1] = msgspec.structs.replace(topic[-1], kind="frame", frame="receipt")


# What arrives


@plant("a member is passed over for ever", "I2", "never seen by a member")
class PassedOver(Broken):
    missed: tuple[str, str, int] | None = None

    def hand_over(self, device: Connection, placed: Placed) -> None:
        other = placed.ask.sender != device.user
        if self.due(self.is_text(placed) and other and self.is_raw(device)):
            self.missed = (device.user, placed.ask.conversation, placed.seq)
        if (device.user, placed.ask.conversation, placed.seq) != self.missed:
            super().hand_over(device, placed)

    def sees(self, user: str, conversation: str, seq: int) -> bool:
        return super().sees(user, conversation, seq) and (user, conversation, seq) != self.missed


@plant("an SDK shows a repeat", "I2", "shown twice")
class SdkShowsRepeat(Broken):
    def hand_over(self, device: Connection, placed: Placed) -> None:
        super().hand_over(device, placed)
        if isinstance(device, Device) and device.user != placed.ask.sender and self.due(device.sdk):
            device.newest[placed.ask.conversation] = 0
            super().hand_over(device, placed)


@plant("a gap is not told", "I4", "a jump nobody told of")
class GapNotTold(Broken):
    def hand_over(self, device: Connection, placed: Placed) -> None:
        known = isinstance(device, Device) and placed.ask.conversation in device.newest
        if isinstance(device, Device) and self.due(
            known and self.is_raw(device) and device.user != placed.ask.sender
        ):
            device.seen.setdefault(placed.ask.conversation, set()).add(placed.seq)
            return
        super().hand_over(device, placed)


@plant("seq goes back in one socket", "I4", "seq went back")
class SeqGoesBack(Broken):
    due_at = 20

    def hand_over(self, device: Connection, placed: Placed) -> None:
        super().hand_over(device, placed)
        earlier = [p for p in self.messages[placed.ask.partition] if self.shown_before(device, p, placed)]
        if earlier and self.due(self.is_raw(device) and device.session != placed.ask.session):
            super().hand_over(device, earlier[-1])

    @staticmethod
    def shown_before(device: Connection, earlier: Placed, placed: Placed) -> bool:
        if not isinstance(device, Device) or earlier.ask.sender == device.user:
            return False
        seen = device.seen.get(placed.ask.conversation, set())
        same = earlier.ask.conversation == placed.ask.conversation
        return same and earlier.seq < placed.seq and earlier.seq in seen


@plant("a gateway hands over what fan-out repeats", "I4", "the same seq again")
class RepeatHandedOver(Broken):
    def hand_over(self, device: Connection, placed: Placed) -> None:
        super().hand_over(device, placed)
        if self.due(self.is_raw(device) and device.user != placed.ask.sender):
            super().hand_over(device, placed)


@plant("a sync page is out of order", "I4", "a page out of order")
class PageOutOfOrder(Broken):
    due_at = 1

    def changed_since(self, user: str, token: int) -> list[tuple[str, int]]:
        places = super().changed_since(user, token)
        crowded = len(places) > 2 and places[-1][0] == places[-2][0]
        return [*places[:-2], places[-1], places[-2]] if self.due(token > 0 and crowded) else places


@plant("resume skips one", "I8", "a delivery was skipped")
class ResumeSkips(Broken):
    due_at = 1

    def unacknowledged(self, window: list[tuple[int, Placed]]) -> list[tuple[int, Placed]]:
        first_new = [n for n, _ in window]
        return window[:-2] + window[-1:] if self.due(len(first_new) > 2) else window


@plant("a resumed session counts from 1 again", "I8", "an old n with new messages")
class ResumeRestarts(Broken):
    due_at = 1

    def unacknowledged(self, window: list[tuple[int, Placed]]) -> list[tuple[int, Placed]]:
        if self.due(bool(window) and window[0][0] > len(window)):
            return [(n, placed) for n, (_, placed) in enumerate(window, 1)]
        return window


@plant("a sync leaves one out", "I8", "a sync left out a message")
class SyncLeavesOut(Broken):
    due_at = 1

    def changed_since(self, user: str, token: int) -> list[tuple[str, int]]:
        places = super().changed_since(user, token)
        inner = [
            at
            for at in range(1, len(places) - 1)
            if places[at - 1][0] == places[at + 1][0] and self.is_news(user, places[at])
        ]
        if inner and self.due(token > 0):
            places.pop(inner[0])
        return places

    def is_news(self, user: str, place: tuple[str, int]) -> bool:
        rows, mine = self.rows[place], [d for d in self.devices if isinstance(d, Device) and d.user == user]
        fresh = all(place[1] not in device.seen.get(place[0], set()) for device in mine)
        return fresh and rows.sender != user


@plant("a history page leaves one out", "I8", "a history page left out a message")
class HistoryLeavesOut(Broken):
    due_at = 1

    def before(self, user: str, conversation: str, seq: int, limit: int) -> list[int]:
        seqs = super().before(user, conversation, seq, limit)
        mine = [d for d in self.devices if isinstance(d, Device) and d.user == user]
        news = [
            s for s in seqs[1:-1] if all(s not in device.seen.get(conversation, set()) for device in mine)
        ]
        if news and self.due(self.rows[conversation, news[0]].sender != user):
            seqs.remove(news[0])
        return seqs


@plant("a receipt goes back", "I8", "a receipt went back")
class ReceiptGoesBack(Broken):
    due_at = 1

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.told_before: dict[tuple[str, str, str], int] = {}

    def told_cursor(self, listener: Connection, user: str, conversation: str) -> int:
        key = (listener.session, user, conversation)
        before = self.told_before.get(key, 0)
        if self.due(before > 1):
            return before - 1
        self.told_before[key] = super().told_cursor(listener, user, conversation)
        return self.told_before[key]


@plant("the read cursor comes back smaller", "I8", "read cursor came back smaller")
class ReadCursorSmaller(Broken):
    due_at = 1

    def listed_cursor(self, user: str, conversation: str) -> int:
        read = super().listed_cursor(user, conversation)
        shown = self.shown.setdefault((user, conversation), 0)
        smaller = self.due(shown > 1)
        self.shown[user, conversation] = max(shown, read)
        return 0 if smaller else read

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.shown: dict[tuple[str, str], int] = {}


@plant("a delivery has the content of another", "I3", "seen with other content")
class OtherContent(Broken):
    def hand_over(self, device: Connection, placed: Placed) -> None:
        wrong = replace(placed, ask=replace(placed.ask, content={"text": "other"}))
        mixed = self.is_text(placed) and device.user != placed.ask.sender
        super().hand_over(device, wrong if self.due(mixed) else placed)


@plant("two readers see two orders", "I3", "seen at a place where the log has something else")
class TwoOrders(Broken):
    due_at = 1

    def read(self, conversation: str, seq: int) -> MessageRow:
        row = super().read(conversation, seq)
        swapped = self.rows.get((conversation, seq + 1))
        if swapped is not None and self.due():
            return msgspec.structs.replace(swapped, seq=seq)
        return row


@plant("fan-out makes up a message", "I3", "fanned out what the log lacks")
class FannedOutForged(Broken):
    def publish_outbound(self, gateway: str, placed: Placed, users: list[str]) -> None:
        forged = replace(placed, ask=replace(placed.ask, client_msg_id="forged"))
        super().publish_outbound(gateway, forged if self.due() else placed, users)


# Who is left behind


@plant("a send is swallowed", "I13", "never answered")
class SwallowedSend(Broken):
    """The gateway takes it, and nobody hears of it again, however often it is repeated."""

    swallowed = ""

    def publish(self, ask: Ask) -> bool:
        if self.due(not ask.request and not self.swallowed):
            self.swallowed = ask.client_msg_id
        return ask.client_msg_id != self.swallowed and super().publish(ask)


@plant("an answer comes long after the faults", "I13", "answered too late")
class LateAnswer(Broken):
    """The stages stand still until somebody looks."""

    held: Ask | None = None

    def publish(self, ask: Ask) -> bool:
        if self.due(ask.kind == "text" and not ask.request and self.held is None):
            self.held = ask
        mine = self.held is not None and ask.client_msg_id == self.held.client_msg_id
        return not mine and super().publish(ask)

    def wait_for_stragglers(self) -> None:
        late, self.held = self.held, None
        if late is not None:
            self.t += LATE_S
            for device in self.devices:
                if isinstance(device, Device) and late.client_msg_id in device.open:
                    device.attempt(replace(late, session=device.session), again=True)
            self.pump()


@plant("a client is sent away for good", "I13", "a client ended for good")
class SentAway(Broken):
    """It is closed with a code that forbids to come back."""

    due_at = 2

    def settle(self, device: Connection) -> None:
        if self.due() and isinstance(device, Device):
            device.log(history.Closed, code=4502, reason="replaced")
        else:
            super().settle(device)


@plant("a reader never gets to the end of its sync", "I13", "a client never caught up")
class NeverCaughtUp(Broken):
    due_at = 2

    def settle(self, device: Connection) -> None:
        if not self.due():
            super().settle(device)
