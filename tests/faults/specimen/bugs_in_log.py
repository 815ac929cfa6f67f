"""Bugs on the way up: gateway to log, moderation, sequencing."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from schemas.codes import Code
from tests.faults import history
from tests.faults.specimen.bugs import Broken, plant
from tests.faults.specimen.device import Device
from tests.faults.specimen.path import Ask, Placed, Rejection


@plant("ack before Kafka", "I1", "accepted before the log had it")
class AckBeforeKafka(Broken):
    def publish(self, ask: Ask) -> bool:
        return self.due(ask.kind == "text") or super().publish(ask)


@plant("a timeout is taken for a failure", "I1", "refused and then sent")
class TimeoutIsFailure(Broken):
    def publish(self, ask: Ask) -> bool:
        super().publish(ask)
        if self.due(ask.kind == "text"):
            self.answer_rejected(Rejection(ask, Code.UNAVAILABLE))
            return False
        return True


@plant("an exception loses a record", "I9", "inbound record without an end")
class ExceptionLosesRecord(Broken):
    def moderate(self, partition: int, offset: int) -> None:
        if not self.due():
            super().moderate(partition, offset)


@plant("poison is skipped without a dead letter", "I9", "inbound record without an end")
class PoisonSkipped(Broken):
    due_at = 1

    def bury(self, partition: int, offset: int) -> None:
        if not self.due():
            super().bury(partition, offset)


@plant("an idle partition is never picked up again", "I10", "never reached the end")
class StalledPartition(Broken):
    due_at = 150

    def stage(self, group: str) -> None:
        committed = self.committed[group]
        before = committed[0]
        super().stage(group)
        self.due()
        if self.planted and group == "im.fanout":
            committed[0] = before


@plant("a worker comes back too late", "I10", "stalled after the last fault")
class LateWorker(Broken):
    def finished(self) -> None:
        self.planted = True
        samples = self.history.others["offsets"]
        end = samples[-1].t + 60.0
        for at, sample in enumerate(samples):
            if sample.group == "im.persistence" and sample.partition == 0:
                samples[at] = msgspec.structs.replace(sample, committed=0)
                last = sample
        samples.append(msgspec.structs.replace(last, t=end))


@plant("a rejected request is accepted after a restart", "I9", "rejected and accepted")
class RejectedThenAccepted(Broken):
    due_at = 1

    def decide(self, ask: Ask, offset: int, code: int) -> None:
        super().decide(ask, offset, code)
        if self.due(code == Code.NOT_A_MEMBER):
            self.accept(ask, offset)


@plant("rejected text goes on", "I11", "rejected content was accepted")
class RejectedTextGoesOn(Broken):
    due_at = 1

    def decide(self, ask: Ask, offset: int, code: int) -> None:
        super().decide(ask, offset, code)
        if self.due(code == Code.MODERATED):
            self.accept(ask, offset)


@plant("the word filter lets one through", "I11", "forbidden content has a place")
class FilterAsleep(Broken):
    due_at = 1

    def judge(self, ask: Ask) -> int:
        code = super().judge(ask)
        return 0 if self.due(code == Code.MODERATED) else code


@plant("rejected text is shown in an error", "I11", "rejected content on a socket")
class RejectedIsShown(Broken):
    due_at = 1

    def answer_rejected(self, rejection: Rejection) -> None:
        super().answer_rejected(rejection)
        if self.due(rejection.code == Code.MODERATED):
            ask = rejection.ask
            stranger = next(d for d in self.devices if isinstance(d, Device) and d.user != ask.sender)
            stranger.log(history.Other, frame="error", strays=[f"{ask.sender}/{ask.client_msg_id}"])


@plant("rejected text is fanned out", "I11", "rejected content in an outbound topic")
class RejectedIsFannedOut(Broken):
    due_at = 1

    def answer_rejected(self, rejection: Rejection) -> None:
        super().answer_rejected(rejection)
        if self.due(rejection.code == Code.MODERATED):
            self.publish_outbound("gw-1", Placed(rejection.ask, 1, 0, 0), [])


@plant("a blocked user still writes", "I5", "written after a block")
class BlockIgnored(Broken):
    due_at = 1

    def judge(self, ask: Ask) -> int:
        code = super().judge(ask)
        return 0 if self.due(code == Code.BLOCKED) else code


@plant("a stranger may write", "I5", "written by a non-member")
class StrangerWrites(Broken):
    due_at = 1

    def judge(self, ask: Ask) -> int:
        code = super().judge(ask)
        return 0 if self.due(code == Code.NOT_A_MEMBER) else code


@plant("two workers accept in turns", "I9", "accepted out of order")
class AcceptedOutOfOrder(Broken):
    held: tuple[Ask, int] | None = None

    def accept(self, ask: Ask, source: int) -> None:
        if self.due(ask.kind == "text"):
            self.held = (ask, source)
            return
        super().accept(ask, source)
        if self.held is not None and self.held[0].partition == ask.partition:
            late, self.held = self.held, None
            super().accept(*late)


@plant("INCR is retried", "I3", "hole in the log")
class IncrRetried(Broken):
    def place(self, ask: Ask, offset: int) -> None:
        if self.due():
            self.heads[ask.conversation] = self.heads.get(ask.conversation, 0) + 1
        super().place(ask, offset)


@plant("a counter falls back after Redis was flushed", "I3", "seq given twice")
class CounterFallsBack(Broken):
    def place(self, ask: Ask, offset: int) -> None:
        if self.due(self.heads.get(ask.conversation, 0) > 2):
            self.heads[ask.conversation] -= 1
        super().place(ask, offset)


@plant("no dedupe", "I1", "one message under two seqs")
class NoDedupe(Broken):
    due_at = 1

    def sequence(self, partition: int, offset: int) -> None:
        source, ask = self.accepted[partition][offset]
        repeat = self.mids.get((ask.sender, ask.client_msg_id)) is not None
        if self.due(repeat and source > self.newest_source[partition]):
            self.newest_source[partition] = source
            self.place(ask, offset)
        else:
            super().sequence(partition, offset)


@plant("a zombie writes another seq", "I3", "a repeat that differs")
class ZombieWrites(Broken):
    def place(self, ask: Ask, offset: int) -> None:
        super().place(ask, offset)
        if self.due(ask.kind == "text"):
            zombie = self.log_message(ask, self.heads[ask.conversation] + 1, offset)
            self.skipped = zombie

    skipped: Placed | None = None

    def store(self, placed: Placed) -> None:
        if placed is not self.skipped:
            super().store(placed)

    def fan_out(self, placed: Placed) -> None:
        if placed is not self.skipped:
            super().fan_out(placed)


@plant("the sequencer skips a record", "I9", "accepted record was never sequenced")
class SequencerSkips(Broken):
    def place(self, ask: Ask, offset: int) -> None:
        if not self.due(ask.kind == "text"):
            super().place(ask, offset)


@plant("two sends of one connection change places", "I3", "a connection's sends changed order")
class TwoSwapped(Broken):
    due_at = 1

    def moderate(self, partition: int, offset: int) -> None:
        log = self.inbound[partition]
        if offset + 1 < len(log) and self.due(_same_place(log[offset], log[offset + 1])):
            log[offset], log[offset + 1] = log[offset + 1], log[offset]
            records = [r for r in self.history.topics["im.inbound"] if r.partition == partition]
            for record, ask in zip(records[offset : offset + 2], log[offset : offset + 2], strict=True):
                at = self.history.topics["im.inbound"].index(record)
                self.history.topics["im.inbound"][at] = type(record)(**ask.said(record.offset))
        super().moderate(partition, offset)


def _same_place(ask: Ask, following: Ask) -> bool:
    fresh = ask.client_msg_id != following.client_msg_id and ask.kind == following.kind == "text"
    harmless = "forbidden" not in ask.content and "forbidden" not in following.content
    place = (ask.session, ask.conversation) == (following.session, following.conversation)
    return fresh and harmless and place


@plant("a message from nowhere", "I9", "sequenced without an accepted record")
class FromNowhere(Broken):
    def place(self, ask: Ask, offset: int) -> None:
        super().place(ask, offset)
        if self.due():
            forged = replace(ask, client_msg_id="forged", message_id="forged", kind="text", content={})
            self.heads[ask.conversation] += 1
            self.log_message(forged, self.heads[ask.conversation], offset + 1_000_000)


@plant("sent answers with another seq", "I1", "sent with another seq than the log's")
class SentLies(Broken):
    due_at = 1

    def answer_sent(self, placed: Placed) -> None:
        super().answer_sent(replace(placed, seq=placed.seq + self.due()))


@plant("a repeated send gets a new message_id", "I1", "sent with another message_id")
class AnotherMessageId(Broken):
    due_at = 1

    def answer_sent(self, placed: Placed) -> None:
        wrong = replace(placed, ask=replace(placed.ask, message_id="another"))
        super().answer_sent(wrong if self.due() else placed)
