/** What a timeline shows, as values in order. Pure; each row has a `key` that stays its own. */

import { dayOf } from "./wording.js";

/** Messages of one sender closer than this stand together under one name. */
export const GROUPING_MS = 5 * 60_000;

const HIDDEN = new Set(["recall", "edit", "reaction"]);
const EVENTS = new Set(["group", "member", "system"]);

/**
 * Rows of kind `beginning`, `day`, `unread`, `event` and `message`.
 * Failed messages stand where they were written, those under way at the end.
 */
export function rowsOf(conversation, entries, me, firstNewSeq) {
  const rows = conversation.startsAtBeginning ? [{ key: "beginning", type: "beginning" }] : [];
  let above = null;
  for (const { message, entry } of inOrder(conversation.run, entries)) {
    const row = message ? rowOfMessage(message, conversation, me) : rowOfEntry(entry, me);
    const newDay = above?.day !== row.day;
    if (newDay) rows.push({ key: `day:${row.day}`, type: "day", atMs: row.atMs });
    const firstNew = row.seq !== null && row.seq === firstNewSeq;
    if (firstNew) rows.push({ key: "unread", type: "unread" });
    rows.push({ ...row, joined: !newDay && !firstNew && standTogether(above, row) });
    above = row;
  }
  return rows;
}

function standTogether(above, row) {
  if (above.type !== "message" || row.type !== "message") return false;
  return above.sender === row.sender && row.atMs - above.atMs < GROUPING_MS;
}

function inOrder(run, entries) {
  const failed = entries.filter((entry) => entry.status === "failed");
  const items = [];
  for (const message of run) {
    while (failed.length && failed[0].after_seq < message.seq) items.push({ entry: failed.shift() });
    if (!HIDDEN.has(message.kind)) items.push({ message });
  }
  failed.forEach((entry) => items.push({ entry }));
  entries.filter((entry) => entry.status !== "failed").forEach((entry) => items.push({ entry }));
  return items;
}

function rowOfMessage(message, conversation, me) {
  const own = message.sender === me && !EVENTS.has(message.kind);
  const row = {
    key: own ? `own:${message.client_msg_id}` : `seq:${message.seq}`,
    type: EVENTS.has(message.kind) ? "event" : "message",
    seq: message.seq,
    message,
    sender: message.sender,
    own,
    atMs: message.sent_at_ms,
    day: dayOf(message.sent_at_ms),
    status: null,
    readers: [],
  };
  return own ? { ...row, ...conversation.statusOf(message.seq) } : row;
}

function rowOfEntry(entry, me) {
  return {
    key: `own:${entry.client_msg_id}`,
    type: "message",
    seq: null,
    message: { ...entry, sender: me },
    sender: me,
    own: true,
    atMs: entry.written_at_ms,
    day: dayOf(entry.written_at_ms),
    status: entry.status,
    reason: entry.reason,
    clientMsgId: entry.client_msg_id,
    readers: [],
  };
}
