/** The conversation list, with a field that finds a conversation or starts one. */

import { avatar, h, reconcile, setAttribute } from "./dom.js";
import { isUserId, peerOf } from "./ids.js";
import { previewOf, whenOf } from "./wording.js";

export function titleOf(conversation, me) {
  return peerOf(conversation.id, me) ?? conversation.name ?? conversation.id.slice(2);
}

export class Sidebar {
  #list;
  #empty;
  #field;
  #start;
  #chat;
  #openConversation;
  #firstFound = null;

  constructor(element, chat, { openConversation, render }) {
    this.#chat = chat;
    this.#openConversation = openConversation;
    this.#list = element.querySelector(".conversations");
    this.#empty = element.querySelector(".conversations-empty");
    this.#start = element.querySelector(".start-chat");
    this.#field = element.querySelector(".find input");
    this.#field.addEventListener("input", render);
    this.#start.addEventListener("click", () => this.#startChat());
    element.querySelector(".find").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  focus() {
    this.#field.focus();
    this.#field.select();
  }

  show(openId, now) {
    const wanted = this.#field.value.trim().toLowerCase();
    const items = this.#items(openId, now).filter((item) => item.title.toLowerCase().includes(wanted));
    this.#firstFound = items[0]?.id ?? null;
    reconcile(this.#list, items, {
      key: (item) => item.id,
      signature: (item) => item.title,
      make: (item) => this.#make(item),
      update: updateItem,
    });
    this.#empty.hidden = items.length > 0 || wanted !== "" || this.#chat.isFirstSync;
    const user = this.#startable();
    this.#start.hidden = user === null;
    this.#start.querySelector("b").textContent = user ?? "";
  }

  #items(openId, now) {
    return this.#chat.store.listed().map((conversation) => {
      const last = conversation.lastMessage;
      const entry = this.#chat.outbox.entries(conversation.id).at(-1);
      const pending = entry && entry.written_at_ms >= (last?.sent_at_ms ?? 0) ? entry : null;
      const newest = pending ? { ...pending, sender: this.#chat.me } : last;
      const at = pending?.written_at_ms ?? last?.sent_at_ms;
      return {
        id: conversation.id,
        title: titleOf(conversation, this.#chat.me),
        group: conversation.kind !== "direct",
        preview: previewOf(newest, this.#chat.me),
        failed: pending?.status === "failed",
        when: at === undefined ? "" : whenOf(at, now),
        unread: conversation.unread,
        muted: conversation.muted,
        open: conversation.id === openId,
      };
    });
  }

  #make(item) {
    const name = h("span", { class: "item-name" }, item.title);
    const when = h("span", { class: "item-when" });
    const preview = h("span", { class: "item-preview", dir: "auto" });
    const badge = h("span", { class: "badge" });
    const button = h(
      "button",
      { type: "button", class: "item", "data-conversation": item.id, click: () => this.#open(item.id) },
      avatar(item.title, item.group ? "is-group" : ""),
      h(
        "span",
        { class: "item-lines" },
        h("span", { class: "item-line" }, name, when),
        h("span", { class: "item-line" }, preview, badge),
      ),
    );
    return h("li", {}, button);
  }

  #open(id) {
    this.#field.value = "";
    this.#openConversation(id);
  }

  /** The user that the field names, if there is no chat with him yet. */
  #startable() {
    const user = this.#field.value.trim();
    if (!isUserId(user) || user === this.#chat.me) return null;
    const known = this.#chat.store.all().some(({ id }) => peerOf(id, this.#chat.me) === user);
    return known ? null : user;
  }

  #startChat() {
    const user = this.#startable();
    if (user !== null) this.#open(this.#chat.openDirect(user));
  }

  /** Enter: the chat with exactly this user first, else the first one found. */
  #submit() {
    const user = this.#field.value.trim();
    if (isUserId(user) && user !== this.#chat.me) this.#open(this.#chat.openDirect(user));
    else if (this.#firstFound !== null) this.#open(this.#firstFound);
  }
}

function updateItem(element, item) {
  const button = element.firstElementChild;
  const badge = element.querySelector(".badge");
  element.querySelector(".item-when").textContent = item.when;
  element.querySelector(".item-preview").textContent = item.preview;
  badge.hidden = item.unread === 0;
  badge.textContent = item.muted ? "" : String(item.unread);
  setAttribute(badge, "aria-label", item.unread ? `${item.unread} unread` : null);
  button.classList.toggle("is-muted", item.muted);
  button.classList.toggle("is-failed", item.failed);
  setAttribute(button, "aria-current", item.open ? "true" : null);
}
