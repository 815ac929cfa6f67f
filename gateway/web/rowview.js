/** The element of one timeline row. What changes while a message lives (ticks, time, seq) is updated in place. */

import { avatar, h, icon, setAttribute } from "./dom.js";
import { bodyOf, dayName, eventText, hueOf, listOf, splitLinks, STATUS_TEXT, timeOf } from "./wording.js";

const TICKS = {
  sending: "clock",
  accepted: "tick",
  sent: "ticks",
  delivered: "ticks",
  read: "ticks",
  failed: "alert",
};

/** What a new element is needed for. */
export function signatureOf({ type, message, joined, status, reason, atMs }) {
  if (type === "day") return String(atMs);
  if (!message) return type;
  const { edited_at_ms: editedAtMs, recalled } = message;
  return JSON.stringify([type, bodyOf(message), editedAtMs, recalled, joined, status === "failed", reason]);
}

export class RowView {
  #me;
  #retry;
  #discard;

  constructor(me, { retry, discard }) {
    this.#me = me;
    this.#retry = retry;
    this.#discard = discard;
  }

  make(row, { inGroup, now }) {
    if (row.type === "beginning") return h("div", { class: "row-note" }, "Beginning of the conversation");
    if (row.type === "day") return h("div", { class: "row-day" }, h("span", {}, dayName(row.atMs, now)));
    if (row.type === "unread") return h("div", { class: "row-unread" }, h("span", {}, "New messages"));
    if (row.type === "event") return h("div", { class: "row-event" }, h("span", {}, eventText(row.message, this.#me)));
    return this.#makeMessage(row, inGroup && !row.own);
  }

  update(element, row) {
    if (row.seq) element.dataset.seq = row.seq;
    if (row.type !== "message") return;
    const meta = element.querySelector(".meta");
    const time = meta.querySelector("time");
    const text = timeOf(row.atMs);
    if (time.textContent !== text) time.textContent = text;
    if (!row.own || element.dataset.status === labelOf(row)) return;
    element.dataset.status = labelOf(row);
    setAttribute(element, "data-state", row.status);
    meta.querySelector(".icon")?.remove();
    meta.append(icon(TICKS[row.status], labelOf(row)));
  }

  #makeMessage(row, withSender) {
    const { message, own, joined, status } = row;
    const classes = ["row", own ? "is-own" : "is-other", joined && "is-joined", status === "failed" && "is-failed"];
    const named = withSender && !joined;
    return h(
      "div",
      { class: classes.filter(Boolean).join(" ") },
      withSender && (joined ? h("span", { class: "avatar-gap" }) : avatar(message.sender, "is-small")),
      h(
        "div",
        { class: `bubble ${message.recalled ? "is-recalled" : ""}` },
        named && h("span", { class: `sender hue-text-${hueOf(message.sender)}` }, message.sender),
        h("span", { class: "text", dir: "auto" }, ...pieces(bodyOf(message))),
        h("span", { class: "meta" }, message.edited_at_ms && !message.recalled ? "edited " : null, h("time")),
      ),
      status === "failed" && this.#makeFailure(row),
    );
  }

  #makeFailure({ reason, clientMsgId }) {
    const button = (text, click) => h("button", { type: "button", class: "link", click }, text);
    return h(
      "div",
      { class: "failure" },
      h("span", { class: "failure-reason" }, `Not sent: ${reason}`),
      button("Retry", () => this.#retry(clientMsgId)),
      button("Delete", () => this.#discard(clientMsgId)),
    );
  }
}

function labelOf({ status, readers }) {
  return status === "read" ? `Read by ${listOf(readers)}` : STATUS_TEXT[status];
}

function pieces(text) {
  return splitLinks(text).map((piece) =>
    piece.link ? h("a", { href: piece.text, target: "_blank", rel: "noopener noreferrer" }, piece.text) : piece.text,
  );
}
