/** Every conversation of one user: what frames say goes in, what the two views show comes out. Pure. */

import { Conversation } from "./conversation.js";
import { directConversation } from "./ids.js";

export class Store {
  #conversations = new Map();

  constructor(me) {
    this.me = me;
  }

  /** The conversation, made on first sight. */
  conversation(id) {
    let conversation = this.#conversations.get(id);
    if (!conversation) {
      conversation = new Conversation(id, this.me);
      this.#conversations.set(id, conversation);
    }
    return conversation;
  }

  has(id) {
    return this.#conversations.has(id);
  }

  all() {
    return [...this.#conversations.values()];
  }

  /** The conversation with one user; it needs no creation. */
  direct(user) {
    return this.conversation(directConversation(this.me, user));
  }

  /** Latest first; a conversation without a message stands on top, because it was just opened. */
  listed() {
    const newest = (conversation) => conversation.lastMessage?.sent_at_ms ?? Infinity;
    return this.all().sort((a, b) => newest(b) - newest(a) || (a.id < b.id ? -1 : 1));
  }

  /** What the title shows: muted conversations are left out. */
  get totalUnread() {
    return this.all().reduce((sum, each) => sum + (each.muted ? 0 : each.unread), 0);
  }

  /** `deliver`: messages as they happen. */
  applyDeliver({ messages }) {
    for (const message of messages) this.#add(message);
  }

  /** `page`: with `reset` everything known before is forgotten, except names and cursors. */
  applyPage({ messages, conversations, reset }) {
    if (reset) this.#forget();
    for (const summary of conversations) this.conversation(summary.conversation_id).applySummary(summary);
    for (const [id, group] of byConversation(messages)) {
      const conversation = this.conversation(id);
      conversation.addPage(group);
      group.forEach((message) => learnName(conversation, message));
    }
  }

  applyOlder(id, { messages, more }, beforeSeq) {
    const conversation = this.conversation(id);
    conversation.addOlder(messages, more, beforeSeq);
    messages.forEach((message) => learnName(conversation, message));
  }

  applyNewer(id, { messages }, afterSeq, settle) {
    const conversation = this.conversation(id);
    conversation.addNewer(messages, afterSeq, settle);
    messages.forEach((message) => learnName(conversation, message));
  }

  /** `sent`: an own message got its place. */
  applySent(entry, { conversation_id: id, seq, message_id: messageId, sent_at_ms: sentAtMs }) {
    this.#add({
      conversation_id: id,
      seq,
      message_id: messageId,
      client_msg_id: entry.client_msg_id,
      sender: this.me,
      kind: entry.kind,
      content: entry.content,
      sent_at_ms: sentAtMs,
    });
  }

  applyReceipt(receipt) {
    this.conversation(receipt.conversation_id).applyReceipt(receipt);
  }

  /** `pong.heads`: what the newest seqs are, so that a lost tail is seen. */
  applyHeads(heads) {
    for (const [id, seq] of Object.entries(heads)) this.conversation(id).noteHead(seq);
  }

  #add(message) {
    const conversation = this.conversation(message.conversation_id);
    conversation.add(message);
    learnName(conversation, message);
  }

  #forget() {
    for (const [id, old] of this.#conversations) {
      const fresh = new Conversation(id, this.me);
      fresh.name = old.name;
      fresh.cursors = old.cursors;
      fresh.readSeq = old.readSeq;
      this.#conversations.set(id, fresh);
    }
  }
}

function byConversation(messages) {
  const groups = new Map();
  for (const message of messages) {
    const group = groups.get(message.conversation_id) ?? [];
    groups.set(message.conversation_id, [...group, message]);
  }
  return groups;
}

/** A group's name travels in its own events. */
function learnName(conversation, { kind, content, seq }) {
  if (kind !== "group" || !content?.name || seq < conversation.namedAtSeq) return;
  conversation.name = content.name;
  conversation.namedAtSeq = seq;
}
