"""One verdict for each request: first what its sender may do, then what he says."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pipeline.moderation.request import Request
from pipeline.moderation.rights import Target, refusal
from pipeline.moderation.texts import replace_texts, texts_of
from pipeline.moderation.words import WordFilter, mask
from schemas.codes import Code
from schemas.conversation import ConversationState
from schemas.errors import Refused
from schemas.topics import MAX_RECORD_BYTES

__all__ = ["ACCEPTED", "Verdict", "judge", "judge_repeat", "reject"]

_MAX_BODY_BYTES: Final = MAX_RECORD_BYTES // 4
"""Masking can make it three times as long, and every later stage puts something before it."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a request. `content` is the masked content; `message` is for the sender alone."""

    verdict: Literal["accept", "mask", "reject"]
    rules: tuple[str, ...] = ()
    code: Code | None = None
    message: str = ""
    content: str | None = None


ACCEPTED: Final = Verdict("accept")


def reject(code: Code, message: str = "", rules: tuple[str, ...] = ()) -> Verdict:
    return Verdict("reject", rules, code, message)


def judge(state: ConversationState, request: Request, words: WordFilter, target: Target) -> Verdict:
    """Decide about one request: first what the sender may do, then what he says."""
    if len(request.body) > _MAX_BODY_BYTES:
        return reject(Code.FRAME_TOO_LARGE)
    if request.content is None:
        return reject(Code.BAD_FRAME, "content is nested too deeply")
    code = refusal(state, request, target)
    return reject(code) if code is not None else _judge_words(request, words)


def judge_repeat(request: Request, words: WordFilter) -> Verdict:
    """Decide about a request that was accepted before: it is again, so that it gets its first answer again.

    Nobody will read it, as long as sequencing remembers the first one too; in case it does not,
    no listed word gets through.
    """
    verdict = _judge_words(request, words)
    if verdict.verdict != "reject":
        return verdict
    return Verdict("mask", verdict.rules, content=_masked_content(request, words))


def _judge_words(request: Request, words: WordFilter) -> Verdict:
    """Decide by the listed words alone: the strictest action of all rules that have a hit."""
    if words.is_empty:
        return ACCEPTED
    kind, content = request.inbound.kind, request.plain_content()
    try:
        hits = [hit for text in texts_of(kind, content) for hit in words.find(text)]
    except Refused as refused:
        return reject(refused.code, refused.message)
    if not hits:
        return ACCEPTED
    rules = tuple(dict.fromkeys(hit.rule.id for hit in hits))
    actions = {hit.rule.action for hit in hits}
    if "reject" in actions:
        classes = dict.fromkeys(hit.rule.rule_class for hit in hits if hit.rule.action == "reject")
        return reject(Code.MODERATED, f"{Code.MODERATED.text} ({', '.join(classes)})", rules)
    if "mask" in actions:
        return Verdict("mask", rules, content=_masked_content(request, words))
    return Verdict("accept", rules)


def _masked_content(request: Request, words: WordFilter) -> str:
    def masked(text: str) -> str:
        return mask(text, (hit for hit in words.find(text) if hit.rule.action != "accept"))

    return replace_texts(request.inbound.kind, request.plain_content(), masked)
