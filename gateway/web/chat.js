/**
 * What one logged-in user can do, and what the server's frames change: joins store, outbox, holes and requests.
 * It knows no socket and no page: frames go out by `transmit(frame)`, `changed()` says that something new is to show.
 */

import { Holes } from "./holes.js";
import { directConversation, newClientMsgId } from "./ids.js";
import { Names } from "./names.js";
import { Outbox } from "./outbox.js";
import { RequestError, Requests } from "./requests.js";
import { Store } from "./store.js";

export const HISTORY_LIMIT = 50;
const HOLE_LIMIT = 200;
/** A frame around the text of a message needs at most this much. */
const FRAME_OVERHEAD_BYTES = 1_024;
/** What a refused history comes to, such as that of a direct conversation nobody wrote in yet. */
const NOTHING = { messages: [], more: false };

export class Chat {
  #transmit;
  #changed;
  #requests = new Requests();
  #holes = new Holes();
  #token = null;
  #synced = false;
  #syncing = false;
  #connected = false;
  #loading = new Set();
  #names = new Names();
  #maxFrameBytes = 65_536;

  constructor({ me, storage, transmit, changed }) {
    this.me = me;
    this.store = new Store(me);
    this.#transmit = transmit;
    this.#changed = changed;
    this.outbox = new Outbox(
      storage.outboxEntries(),
      (entry) => storage.keepEntry(entry),
      (entry) => storage.dropEntry(entry),
    );
    for (const { conversation_id: id } of this.outbox.entries()) this.store.conversation(id);
  }

  /** True until the first conversation list is whole. */
  get isFirstSync() {
    return !this.#synced;
  }

  receive(frame, now) {
    const on = {
      welcome: () => this.#welcome(frame, now),
      accepted: () => this.outbox.accepted(frame.client_msg_id),
      sent: () => this.#sent(frame),
      rejected: () => this.outbox.refused(frame.client_msg_id, frame, now),
      deliver: () => this.#delivered(frame),
      receipt: () => this.store.applyReceipt(frame),
      pong: () => this.#pong(frame),
      error: () => this.#error(frame, now),
    };
    on[frame.type]?.();
    if ("re" in frame && frame.type !== "error") this.#requests.settle(frame);
    this.tick(now);
    this.#changed();
  }

  /** The socket is gone; what waits for replies is told so. */
  cut() {
    this.#connected = false;
    this.#requests.abandon();
    this.#changed();
  }

  tick(now) {
    this.#requests.expire(now);
    if (!this.#connected) return;
    for (const entry of this.outbox.takeReady(now)) this.#transmit(sendFrame(entry));
    if (!this.#synced || this.#syncing) return;
    this.#mendHoles(now);
    for (const id of this.#names.plan(this.store.all(), now)) this.#learnName(id);
  }

  /** Shows the text at once and sends it as soon as it can go, also after a reload. */
  send(conversationId, text, now) {
    const conversation = this.store.conversation(conversationId);
    const id = newClientMsgId(now, crypto.getRandomValues(new Uint8Array(16)));
    this.outbox.add(id, conversationId, { text }, conversation.run.at(-1)?.seq ?? 0, now);
    this.tick(now);
    this.#changed();
  }

  /** True if the text is small enough for one frame. */
  fits(text) {
    return new TextEncoder().encode(JSON.stringify(text)).length <= this.#maxFrameBytes - FRAME_OVERHEAD_BYTES;
  }

  /** Writes a failed message anew, as the newest; its old id would get the old answer. */
  retry(clientMsgId, now) {
    const entry = this.outbox.remove(clientMsgId);
    if (entry) this.send(entry.conversation_id, entry.content.text, now);
  }

  discard(clientMsgId) {
    this.outbox.remove(clientMsgId);
    this.#changed();
  }

  /** Moves the read cursor; what cannot be said now is said after the next connect. */
  read(conversationId, seq) {
    if (!this.store.conversation(conversationId).markRead(seq)) return;
    if (this.#connected) this.#transmit(readFrame(conversationId, seq));
    this.#changed();
  }

  openDirect(user) {
    const id = directConversation(this.me, user);
    this.open(id);
    return id;
  }

  /** Makes a conversation known, and loads its newest messages. */
  open(conversationId) {
    const conversation = this.store.conversation(conversationId);
    if (conversation.run.length === 0) this.loadOlder(conversationId);
    this.#changed();
  }

  /** One page further back; returns at once if there is none, or one is under way. */
  async loadOlder(conversationId) {
    const conversation = this.store.conversation(conversationId);
    const ready = this.#connected && this.#synced && !this.#loading.has(conversationId);
    if (!ready || conversation.startsAtBeginning) return;
    this.#loading.add(conversationId);
    const beforeSeq = conversation.run[0]?.seq ?? null;
    const range = beforeSeq === null ? {} : { before_seq: beforeSeq };
    try {
      const answer = await this.#history(conversationId, { ...range, limit: HISTORY_LIMIT });
      this.store.applyOlder(conversationId, answer, beforeSeq);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (error.temporary) return;
      this.store.applyOlder(conversationId, NOTHING, beforeSeq);
    } finally {
      this.#loading.delete(conversationId);
    }
    this.#changed();
  }

  /** Resolves with the id of the new group. */
  async createGroup(name, members) {
    const { conversation_id: id } = await this.request({ type: "group.create", name, members });
    this.store.conversation(id).name = name;
    this.#changed();
    return id;
  }

  /**
   * A change to a group. Who asks for it gets `ok`, and may not get the event that everybody else gets: it is
   * looked for like a missing message.
   */
  async changeGroup(frame) {
    const conversation = this.store.conversation(frame.conversation_id);
    const eventSeq = conversation.headSeq + 1;
    const answer = await this.request(frame);
    conversation.noteHead(eventSeq);
    return answer;
  }

  /** Any request; rejects with `RequestError`. */
  request(frame) {
    const { frame: numbered, reply } = this.#requests.begin(frame, Date.now());
    if (this.#connected) this.#transmit(numbered);
    else this.#requests.abandon();
    return reply;
  }

  #history(conversationId, range) {
    return this.request({ type: "history", conversation_id: conversationId, ...range });
  }

  #welcome({ resumed, limits }) {
    this.#connected = true;
    this.#maxFrameBytes = limits?.max_frame_bytes ?? this.#maxFrameBytes;
    if (!resumed) this.outbox.restart();
    if (resumed && this.#synced) this.#tellReads();
    else this.#sync(this.#token);
  }

  /** Pages until level; a cut ends it, and the next `welcome` goes on from the last page. */
  async #sync(fromToken) {
    this.#syncing = true;
    let anew = false;
    try {
      for (let token = fromToken, more = true; more; token = this.#token) {
        const page = await this.request({ type: "sync", token });
        this.store.applyPage({ ...page, reset: page.reset && !anew });
        anew ||= page.reset;
        this.#settleOwn(page.messages);
        this.#token = page.token;
        more = page.more;
      }
      this.#synced = true;
      this.#tellReads();
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      console.warn("sync ended early", error.message);
    } finally {
      this.#syncing = false;
      this.#changed();
    }
  }

  #tellReads() {
    for (const { id, readSeq, confirmedReadSeq } of this.store.all()) {
      if (readSeq > confirmedReadSeq) this.#transmit(readFrame(id, readSeq));
    }
  }

  #sent(frame) {
    const entry = this.outbox.done(frame.client_msg_id);
    if (entry) this.store.applySent(entry, frame);
  }

  #delivered(frame) {
    this.store.applyDeliver(frame);
    this.#settleOwn(frame.messages);
  }

  /** An own message that arrives in the order is answered, however that answer got lost. */
  #settleOwn(messages) {
    for (const message of messages) {
      if (message.sender === this.me) this.outbox.done(message.client_msg_id);
    }
  }

  #pong({ token, heads }) {
    if (token && this.#synced && !this.#syncing) this.#token = token;
    this.store.applyHeads(heads ?? {});
  }

  #error(frame, now) {
    if (this.#requests.settle(frame)) return;
    this.outbox.refused(frame.re, frame, now);
  }

  #mendHoles(now) {
    for (const request of this.#holes.plan(this.store.all(), now)) this.#mend(request);
  }

  async #learnName(id) {
    try {
      const info = await this.request({ type: "group.info", conversation_id: id });
      this.store.conversation(id).name ??= info.name ?? null;
      this.#changed();
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
    }
  }

  async #mend({ id, afterSeq }) {
    try {
      const range = afterSeq > 0 ? { after_seq: afterSeq } : {};
      const answer = await this.#history(id, { ...range, limit: HOLE_LIMIT });
      const settle = this.#holes.answered(id, answer.messages.length === 0, Date.now());
      if (afterSeq > 0) this.store.applyNewer(id, answer, afterSeq, settle);
      else this.store.applyOlder(id, answer, null);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.#holes.unanswered(id, Date.now());
      if (!error.temporary) this.store.applyNewer(id, NOTHING, afterSeq, true);
    } finally {
      this.#changed();
    }
  }
}

/** `id` is the client_msg_id, so that even an `error` finds its entry. */
function sendFrame({ client_msg_id: clientMsgId, conversation_id: conversationId, kind, content }) {
  return { type: "send", id: clientMsgId, client_msg_id: clientMsgId, conversation_id: conversationId, kind, content };
}

function readFrame(conversationId, seq) {
  return { type: "read", conversation_id: conversationId, seq };
}
