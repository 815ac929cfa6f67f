"""Bugs in what is kept: messages, memberships, cursors, what must never be kept at all."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.codes import Code
from tests.faults import dumps
from tests.faults.dumps import MessageRow
from tests.faults.history import EMPTY
from tests.faults.specimen.bugs import Broken, plant
from tests.faults.specimen.path import Ask, Placed, Rejection


class _Spoiled(Broken):
    """A bug that only the dumps show."""

    def finished(self) -> None:
        self.planted = True
        self.spoil(self.history.tables)

    def spoil(self, tables: dict[str, list[Any]]) -> None:
        raise NotImplementedError


@plant("commit before the write", "I1", "row missing")
class CommitBeforeWrite(Broken):
    def store(self, placed: Placed) -> None:
        if not self.due(self.is_text(placed)):
            super().store(placed)

    def store_change(self, placed: Placed) -> None:
        if (placed.ask.conversation, placed.ask.target) in self.rows:
            super().store_change(placed)


@plant("the last record is dropped", "I1", "row missing")
class LastDropped(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        tables["messages"].pop()


@plant("a row for a failed send", "I1", "refused but kept")
class RowForFailed(Broken):
    due_at = 1

    def answer_rejected(self, rejection: Rejection) -> None:
        super().answer_rejected(rejection)
        ask = rejection.ask
        if self.due(not ask.request and rejection.code == Code.NOT_A_MEMBER):
            self.rows[ask.conversation, 900] = MessageRow(
                conversation=ask.conversation, seq=900, sender=ask.sender, client_msg_id=ask.client_msg_id,
                message_id=ask.message_id, digest=1,
            )  # fmt: skip


@plant("two rows for one message", "I1", "two rows for one message")
class TwoRows(Broken):
    def store(self, placed: Placed) -> None:
        super().store(placed)
        if self.due(self.is_text(placed)):
            row = self.rows[placed.ask.conversation, placed.seq]
            self.rows[row.conversation, 900] = msgspec.structs.replace(row, seq=900)


@plant("a row that nobody wrote", "I1", "row that the log knows nothing of")
class ForgedRow(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        row = tables["messages"][-1]
        tables["messages"].append(msgspec.structs.replace(row, seq=900, client_msg_id="forged"))


@plant("the content of another message is stored", "I1", "row with other content")
class ContentMixedUp(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        first, second = [row for row in tables["messages"] if row.kind == "text" and not row.recalled][:2]
        at = tables["messages"].index(first)
        tables["messages"][at] = msgspec.structs.replace(first, digest=second.digest)


@plant("an edit loses against an older write", "I1", "row with other content")
class EditLost(Broken):
    due_at = 1

    def store_change(self, placed: Placed) -> None:
        if not self.due(placed.ask.kind == "edit"):
            super().store_change(placed)


@plant("a retry stores a message_id of its own", "I1", "row with another message_id")
class OtherMessageId(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        tables["messages"][3] = msgspec.structs.replace(tables["messages"][3], message_id="other")


@plant("a bucket is not listed", "I1", "bucket missing")
class BucketMissing(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        tables["conversation_buckets"].pop()


@plant("a recall is ignored", "I5", "stored content after its recall")
class RecallIgnored(Broken):
    due_at = 1

    def store_change(self, placed: Placed) -> None:
        if not self.due(placed.ask.kind == "recall"):
            super().store_change(placed)


@plant("a cache shows what was recalled", "I5", "read after its recall")
class StaleCache(Broken):
    due_at = 1

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.cache: dict[tuple[str, int], MessageRow] = {}

    def store_change(self, placed: Placed) -> None:
        place = (placed.ask.conversation, placed.ask.target)
        if self.due(placed.ask.kind == "recall" and not self.rows[place].recalled):
            self.cache[place] = self.rows[place]
        super().store_change(placed)

    def read(self, conversation: str, seq: int) -> MessageRow:
        return self.cache.get((conversation, seq)) or super().read(conversation, seq)


@plant("a recalled message keeps its text on the way", "I5", "marked as recalled, yet with content")
class RecalledWithText(Broken):
    due_at = 1

    def read(self, conversation: str, seq: int) -> MessageRow:
        row = super().read(conversation, seq)
        return (
            msgspec.structs.replace(row, digest=99) if self.due(row.digest == EMPTY and row.recalled) else row
        )


@plant("a membership is not stored", "I5", "stored membership differs from the log")
class MembershipLost(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        tables["user_conversations"].pop()


@plant("a membership of nobody", "I5", "stored membership that the log knows nothing of")
class MembershipForged(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        tables["user_conversations"].append(
            dumps.MembershipRow(conversation="g:tea", user="mallory", joined_seq=1)
        )


@plant("a membership event is not stored", "I5", "membership event not stored")
class EventLost(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        tables["conversation_events"].pop()


@plant("a stored cursor is reset to 0", "I8", "stored cursor is smaller than acked")
class CursorReset(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        cursors = tables["user_cursors"]
        at = next(at for at, row in enumerate(cursors) if row.delivered_seq)
        cursors[at] = msgspec.structs.replace(cursors[at], delivered_seq=0)


@plant("a stored cursor runs ahead", "I8", "stored cursor nobody gave")
class CursorAhead(_Spoiled):
    def spoil(self, tables: dict[str, list[Any]]) -> None:
        tables["user_cursors"][0] = msgspec.structs.replace(tables["user_cursors"][0], read_seq=999)


@plant("typing is kept", "I12", "ephemeral frame sequenced")
class TypingKept(Broken):
    due_at = 1

    def hears_typing(self, user: str, conversation: str) -> bool:
        if self.due(user in self.members_of(conversation)):
            self.publish(Ask(conversation, user, "typing-1", "typing", message_id="typing-1"))
            self.pump()
        return super().hears_typing(user, conversation)


@plant("a replay appends rows", "I7", "a replay changed something")
class ReplayAppends(Broken):
    def finished(self) -> None:
        self.planted = True
        digests = self.history.others["digests"]
        digests[1] = msgspec.structs.replace(digests[1], digest="other", rows=digests[1].rows + 1)


@plant("bodies are logged", "I6", "text of users in a log")
class BodiesLogged(Broken):
    def finished(self) -> None:
        self.planted = True
        leak = dumps.Leak(where="logs/gateway.log:17", mid="ann/ann-1.4", line="send ~ann/ann-1.4~")
        self.history.others["leaks"].append(leak)
