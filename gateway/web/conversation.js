/**
 * One conversation as this client knows it. Pure.
 *
 * Messages stand by `seq`. What is shown is the *run*: the newest unbroken stretch. Two neighbours are unbroken
 * if their seqs follow each other, or if an answer of the server showed that nothing visible lies between them
 * (a link). A message beyond a hole waits outside the run until the hole is filled, so nobody sees the order change.
 */

import { peerOf } from "./ids.js";

/** Kinds that are no news: they have a `seq`, but never count as unread. */
const UNCOUNTED = new Set(["recall", "edit", "reaction", "member", "group"]);
const BEGINNING = 0;

export class Conversation {
  #me;
  #messages = new Map();
  #previous = new Map();
  #next = new Map();
  #effects = new Map();
  #run = null;
  #endSeq = null;
  #knownEmpty = false;
  /** What the server said last: `unread` of `headSeq` seen from `readSeq`. */
  #base = { headSeq: 0, readSeq: 0, unread: 0 };

  name = null;
  /** The seq of the event that gave the name. */
  namedAtSeq = 0;
  muted = false;
  mentioned = false;
  headSeq = 0;
  readSeq = 0;
  /** The own read cursor as far as the server said that it knows it. */
  confirmedReadSeq = 0;
  lastMessage = null;
  /** The newest cursors of the others: user → {delivered_seq, read_seq}. */
  cursors = new Map();

  constructor(id, me) {
    this.id = id;
    this.#me = me;
  }

  get kind() {
    return { d: "direct", g: "group", c: "channel" }[this.id[0]];
  }

  /** The shown messages, oldest first. */
  get run() {
    this.#run ??= this.#walkBack();
    return this.#run;
  }

  /** True if nothing visible stands before the run; also in a conversation without messages, once asked for. */
  get startsAtBeginning() {
    if (this.run.length === 0) return this.#knownEmpty;
    return this.#seqBefore(this.run[0].seq) === BEGINNING;
  }

  /** Seq after which a message is missing: a hole, or a head that was heard of but not delivered. */
  get missingAfterSeq() {
    const endSeq = this.#endSeq ?? 0;
    return this.headSeq > endSeq ? endSeq : null;
  }

  /** Computed from cursors, never counted up and down. Exact whenever the run reaches back to the read cursor. */
  get unread() {
    const { headSeq, readSeq, unread } = this.#base;
    const firstSeq = this.run[0]?.seq ?? Infinity;
    const whole = this.startsAtBeginning || firstSeq <= this.readSeq + 1;
    if (whole || this.readSeq >= headSeq) return this.#countBetween(this.readSeq, Infinity);
    const sinceRead = this.#countBetween(readSeq, this.readSeq);
    return Math.max(0, unread - sinceRead + this.#countBetween(headSeq, Infinity));
  }

  /** A message as it happens; repeats change nothing. Returns false for a repeat. */
  add(message) {
    if (this.#endSeq === null) this.#beginAt(message.seq);
    if (!this.#put(message)) return false;
    this.#advance();
    return true;
  }

  /** Messages of a sync page: neighbours in it are unbroken, and its last one is where the run ends. */
  addPage(messages) {
    const ordered = [...messages].sort((a, b) => a.seq - b.seq);
    if (ordered.length === 0) return;
    this.#link(ordered);
    this.#endSeq = Math.max(this.#endSeq ?? 0, ordered.at(-1).seq);
    this.#advance();
  }

  /** The answer to `history{before_seq}`; `beforeSeq` null: the newest. */
  addOlder(messages, more, beforeSeq) {
    const ordered = [...messages].sort((a, b) => a.seq - b.seq);
    this.#link(ordered);
    if (ordered.length && this.#endSeq === null) this.#endSeq = ordered.at(-1).seq;
    const oldestSeq = ordered[0]?.seq ?? beforeSeq;
    this.#knownEmpty = oldestSeq === null && !more;
    if (ordered.length && beforeSeq !== null) this.#join(ordered.at(-1).seq, beforeSeq);
    if (!more && oldestSeq !== null) this.#join(BEGINNING, oldestSeq);
    this.#advance();
  }

  /** The answer to `history{after_seq}`. With `settle` the hole that remains is taken for invisible to us. */
  addNewer(messages, afterSeq, settle) {
    const ordered = [...messages].sort((a, b) => a.seq - b.seq);
    this.#link(ordered);
    if (this.#endSeq === null && ordered.length) this.#endSeq = ordered[0].seq;
    if (settle) this.#settle(afterSeq);
    this.#advance();
  }

  /** The server's summary of this conversation, from a page. */
  applySummary(summary) {
    this.muted = summary.muted;
    this.mentioned = summary.mentioned;
    this.#base = { headSeq: summary.head, readSeq: summary.read_seq, unread: summary.unread };
    this.applyReceipt({ user_id: this.#me, read_seq: summary.read_seq });
    this.headSeq = Math.max(this.headSeq, summary.head);
    this.name = summary.name ?? this.name;
    if (summary.last_message) this.#showAsLast(summary.last_message);
    const peer = peerOf(this.id, this.#me);
    if (peer !== null) {
      const { delivered_seq, peer_read_seq: read_seq } = summary;
      this.applyReceipt({ user_id: peer, delivered_seq, read_seq });
    }
  }

  /** A cursor moved; cursors never go backwards. */
  applyReceipt({ user_id: user, delivered_seq: delivered = 0, read_seq: read = 0 }) {
    if (user === this.#me) {
      this.readSeq = Math.max(this.readSeq, read);
      this.confirmedReadSeq = Math.max(this.confirmedReadSeq, read);
      return;
    }
    const old = this.cursors.get(user) ?? { delivered_seq: 0, read_seq: 0 };
    this.cursors.set(user, {
      delivered_seq: Math.max(old.delivered_seq, delivered),
      read_seq: Math.max(old.read_seq, read),
    });
  }

  /** Moves the own cursor; returns false if it stood there already. */
  markRead(seq) {
    if (seq <= this.readSeq) return false;
    this.readSeq = seq;
    this.mentioned = false;
    return true;
  }

  noteHead(seq) {
    this.headSeq = Math.max(this.headSeq, seq);
  }

  /** The first shown message that counts as unread; null if there is none. */
  get firstUnreadSeq() {
    return this.run.find((message) => message.seq > this.readSeq && this.#counts(message))?.seq ?? null;
  }

  /** sent, delivered or read, and who read: what the others' cursors say of an own message. */
  statusOf(seq) {
    const at = (cursor) => [...this.cursors].filter(([, c]) => c[cursor] >= seq).map(([user]) => user);
    const readers = at("read_seq");
    if (readers.length) return { status: "read", readers };
    return { status: at("delivered_seq").length ? "delivered" : "sent", readers };
  }

  /** Everything below a conversation's first sight is history: neither missing nor unread. */
  #beginAt(seq) {
    this.#endSeq = seq;
    if (this.headSeq > 0) return;
    this.#base = { headSeq: seq - 1, readSeq: seq - 1, unread: 0 };
    this.readSeq = Math.max(this.readSeq, seq - 1);
  }

  #put(message) {
    const known = this.#messages.get(message.seq);
    if (known && !message.edited_at_ms && !message.recalled) return false;
    this.#run = null;
    this.#messages.set(message.seq, this.#withEffect(message));
    this.#splitLinks(message.seq);
    this.headSeq = Math.max(this.headSeq, message.seq);
    this.#applyEvent(message);
    this.#showAsLast(this.#messages.get(message.seq));
    return !known;
  }

  /** Recalls and edits change an earlier message, also one that is loaded later. */
  #applyEvent(event) {
    const target = event.content?.seq;
    if ((event.kind !== "recall" && event.kind !== "edit") || !Number.isInteger(target)) return;
    const older = this.#effects.get(target);
    if (older && older.seq > event.seq) return;
    this.#effects.set(target, event);
    const message = this.#messages.get(target);
    if (!message) return;
    this.#messages.set(target, this.#withEffect(message));
    if (this.lastMessage?.seq === target) this.lastMessage = this.#messages.get(target);
  }

  #withEffect(message) {
    const event = this.#effects.get(message.seq);
    if (!event) return message;
    if (event.kind === "recall") return { ...message, recalled: true };
    return { ...message, content: event.content.content ?? message.content, edited_at_ms: event.sent_at_ms };
  }

  #showAsLast(message) {
    if (["recall", "edit", "reaction"].includes(message.kind)) return;
    if (message.seq >= (this.lastMessage?.seq ?? 0)) this.lastMessage = message;
  }

  #link(ordered) {
    ordered.forEach((message) => this.#put(message));
    ordered.slice(1).forEach((message, i) => this.#join(ordered[i].seq, message.seq));
  }

  #join(seq, nextSeq) {
    this.#run = null;
    if (nextSeq <= seq + 1) return;
    this.#previous.set(nextSeq, seq);
    this.#next.set(seq, nextSeq);
  }

  /** A message that appears inside a link proves it wrong on both sides of it. */
  #splitLinks(seq) {
    for (const [nextSeq, previousSeq] of this.#previous) {
      if (previousSeq >= seq || seq >= nextSeq) continue;
      this.#previous.delete(nextSeq);
      this.#next.delete(previousSeq);
      this.#join(previousSeq, seq);
      this.#join(seq, nextSeq);
    }
  }

  #settle(afterSeq) {
    const beyond = [...this.#messages.keys()].filter((seq) => seq > afterSeq);
    if (beyond.length) this.#join(afterSeq, Math.min(...beyond));
    else this.headSeq = afterSeq;
  }

  #advance() {
    this.#run = null;
    if (this.#endSeq === null) return;
    let seq = this.#seqAfter(this.#endSeq);
    while (this.#messages.has(seq)) {
      this.#endSeq = seq;
      seq = this.#seqAfter(seq);
    }
  }

  #walkBack() {
    const run = [];
    let message = this.#messages.get(this.#endSeq);
    while (message) {
      run.push(message);
      message = this.#messages.get(this.#seqBefore(message.seq));
    }
    return run.reverse();
  }

  #seqBefore(seq) {
    return this.#previous.get(seq) ?? seq - 1;
  }

  #seqAfter(seq) {
    return this.#next.get(seq) ?? seq + 1;
  }

  #counts(message) {
    return message.sender !== this.#me && !UNCOUNTED.has(message.kind);
  }

  #countBetween(aboveSeq, upToSeq) {
    let count = 0;
    for (const message of this.#messages.values()) {
      if (message.seq > aboveSeq && message.seq <= upToSeq && this.#counts(message)) count += 1;
    }
    return count;
  }
}
