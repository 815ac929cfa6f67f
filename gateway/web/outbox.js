/**
 * What the user wrote and the server did not answer for good yet. Pure, except that every change is handed to
 * `keep(entry)` or `drop(entry)` before it counts, so that nothing is lost by a reload.
 *
 * Promises: in a conversation, entries go out in the order they were written, and the next one only after the one
 * before it was accepted or refused for good; an unanswered entry goes again under the same client_msg_id
 * after a reconnect or ANSWER_TIMEOUT_MS; temporary refusals are tried TRIES times.
 *
 * An entry: {client_msg_id, conversation_id, kind, content, place, written_at_ms, status, reason, after_seq}
 * with status sending → accepted, or failed.
 */

export const ANSWER_TIMEOUT_MS = 15_000;
export const TRIES = 8;
export const MAX_IN_FLIGHT = 64;

const BACKOFF_MS = 1_000;
const BACKOFF_CAP_MS = 30_000;

export class Outbox {
  #entries = new Map();
  /** client_msg_id → {tries, askedAtMs (null: not on this connection), answered (accepted on it), againAtMs} */
  #attempts = new Map();
  #keep;
  #drop;

  constructor(entries, keep, drop) {
    this.#keep = keep;
    this.#drop = drop;
    for (const entry of [...entries].sort((a, b) => a.place - b.place)) this.#hold(entry);
  }

  get(clientMsgId) {
    return this.#entries.get(clientMsgId);
  }

  /** The entries of one conversation, or all, in the order written. */
  entries(conversationId = null) {
    const all = [...this.#entries.values()];
    return conversationId === null ? all : all.filter((e) => e.conversation_id === conversationId);
  }

  add(clientMsgId, conversationId, content, afterSeq, now) {
    const place = 1 + Math.max(0, ...this.entries().map((entry) => entry.place));
    const entry = {
      client_msg_id: clientMsgId,
      conversation_id: conversationId,
      kind: "text",
      content,
      place,
      written_at_ms: now,
      status: "sending",
      reason: null,
      after_seq: afterSeq,
    };
    this.#keep(entry);
    this.#hold(entry);
    return entry;
  }

  /** A new connection that did not resume: nothing was asked on it yet. */
  restart() {
    for (const attempt of this.#attempts.values()) Object.assign(attempt, { askedAtMs: null, answered: false });
  }

  /** The entries to send now; they count as asked from here on. */
  takeReady(now) {
    const ready = [];
    const closed = new Set();
    let inFlight = 0;
    for (const entry of this.#entries.values()) {
      if (entry.status === "failed") continue;
      const attempt = this.#attempts.get(entry.client_msg_id);
      const waiting = attempt.askedAtMs !== null && now - attempt.askedAtMs < ANSWER_TIMEOUT_MS;
      if (!waiting && !closed.has(entry.conversation_id) && attempt.againAtMs <= now && inFlight < MAX_IN_FLIGHT) {
        attempt.askedAtMs = now;
        attempt.answered = false;
        ready.push(entry);
      }
      if (attempt.answered) continue;
      closed.add(entry.conversation_id);
      inFlight += 1;
    }
    return ready;
  }

  accepted(clientMsgId) {
    const entry = this.#entries.get(clientMsgId);
    if (!entry) return;
    this.#attempts.get(clientMsgId).answered = true;
    if (entry.status === "sending") this.#change(entry, { status: "accepted" });
  }

  /** Its place in the conversation is known: returns the entry, which is ours no longer. */
  done(clientMsgId) {
    const entry = this.#entries.get(clientMsgId);
    if (entry) this.#forget(entry);
    return entry;
  }

  /** Refused. A temporary refusal is tried again after a growing wait; anything else waits for the user. */
  refused(clientMsgId, { message, temporary, retry_after_ms: retryAfterMs }, now) {
    const entry = this.#entries.get(clientMsgId);
    if (!entry) return;
    const attempt = this.#attempts.get(clientMsgId);
    attempt.tries += 1;
    attempt.answered = false;
    attempt.askedAtMs = null;
    if (temporary && attempt.tries < TRIES) {
      attempt.againAtMs = now + (retryAfterMs ?? Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** (attempt.tries - 1)));
      return;
    }
    this.#change(entry, { status: "failed", reason: message });
  }

  /** The user gives a failed entry up, or writes it anew under another id. */
  remove(clientMsgId) {
    const entry = this.#entries.get(clientMsgId);
    if (entry?.status !== "failed") return null;
    this.#forget(entry);
    return entry;
  }

  #hold(entry) {
    this.#entries.set(entry.client_msg_id, entry);
    this.#attempts.set(entry.client_msg_id, { tries: 0, askedAtMs: null, againAtMs: 0, answered: false });
  }

  #change(entry, change) {
    const changed = { ...entry, ...change };
    this.#keep(changed);
    this.#entries.set(entry.client_msg_id, changed);
  }

  #forget(entry) {
    this.#drop(entry);
    this.#entries.delete(entry.client_msg_id);
    this.#attempts.delete(entry.client_msg_id);
  }
}
