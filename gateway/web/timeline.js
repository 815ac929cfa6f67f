/**
 * The messages of the open conversation: a window of rows that follows the newest one, or stays where it is read.
 *
 * Promises: what is being read never moves (older rows, newer rows and a resize alike); at most MAX_ROWS rows are
 * in the page; the newest seq that was in sight is reported by `seen`.
 */

import { keyOf, reconcile } from "./dom.js";
import { RowView, signatureOf } from "./rowview.js";

const MAX_ROWS = 100;
const STEP_ROWS = 40;
const EDGE_PX = 400;
const BOTTOM_PX = 40;

export class Timeline {
  #scroller;
  #log;
  #jump;
  #rowView;
  #on;
  #rows = [];
  #context = null;
  #conversationId = null;
  #firstKey = null;
  #toEnd = true;
  #following = true;
  #seenSeq = 0;

  /** `on` has `older()`, `seen(seq)`, `retry(id)` and `discard(id)`. */
  constructor(element, me, on) {
    this.#scroller = element.querySelector(".scroller");
    this.#log = element.querySelector(".log");
    this.#jump = element.querySelector(".jump");
    this.#on = on;
    this.#rowView = new RowView(me, on);
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener("click", () => this.jumpToEnd());
    new ResizeObserver(() => this.#following && this.#scrollToEnd()).observe(this.#scroller);
  }

  /** `context`: {conversationId, inGroup, now, lastSeq, firstNewSeq}. */
  show(rows, context) {
    this.#rows = rows;
    this.#context = context;
    if (context.conversationId === this.#conversationId) this.#keepPlace(() => this.#draw());
    else this.#arrive();
    this.#afterMove();
  }

  jumpToEnd() {
    this.#toEnd = true;
    this.#following = true;
    this.#draw();
    this.#scrollToEnd();
    this.#afterMove();
  }

  /** Tells what is in sight; for when the page becomes visible or focused. */
  look() {
    if (!this.#context || document.hidden || !document.hasFocus()) return;
    const seq = this.#following ? this.#context.lastSeq : this.#lastSeqInSight();
    if (seq > this.#seenSeq) this.#seenSeq = seq;
    if (seq > 0) this.#on.seen(seq);
  }

  /** A conversation is opened: at its first new message if there is one, else at the end. */
  #arrive() {
    this.#conversationId = this.#context.conversationId;
    this.#seenSeq = (this.#context.firstNewSeq ?? this.#context.lastSeq + 1) - 1;
    this.#toEnd = true;
    this.#following = true;
    this.#log.replaceChildren();
    this.#draw();
    this.#scrollToEnd();
    const divider = this.#log.querySelector(".row-unread");
    if (!divider) return;
    divider.scrollIntoView({ block: "start" });
    this.#noteFollowing();
  }

  #draw() {
    const { from, to } = this.#window();
    this.#firstKey = this.#rows[from]?.key ?? null;
    reconcile(this.#log, [...this.#dayBefore(from), ...this.#rows.slice(from, to)], {
      key: (row) => row.key,
      signature: signatureOf,
      make: (row) => this.#rowView.make(row, this.#context),
      update: (element, row) => this.#rowView.update(element, row),
    });
  }

  /** The day that the first row of the window belongs to, if its own row is further up. */
  #dayBefore(from) {
    const above = this.#rows.slice(0, from);
    return this.#rows[from]?.type === "day" ? [] : above.filter((row) => row.type === "day").slice(-1);
  }

  #window() {
    const count = this.#rows.length;
    if (this.#toEnd) return { from: Math.max(0, count - MAX_ROWS), to: count };
    const from = Math.max(0, this.#rows.findIndex((row) => row.key === this.#firstKey));
    return { from, to: Math.min(count, from + MAX_ROWS) };
  }

  /** Draws without moving what is read: the end if we follow it, else the first row in sight. */
  #keepPlace(draw) {
    const anchor = this.#following ? null : this.#firstRowInSight();
    const before = anchor?.getBoundingClientRect().top;
    const key = anchor && keyOf(anchor);
    draw();
    if (this.#following) this.#scrollToEnd();
    const after = anchor && [...this.#log.children].find((row) => keyOf(row) === key);
    if (after) this.#scroller.scrollTop += after.getBoundingClientRect().top - before;
  }

  #scrolled() {
    this.#noteFollowing();
    this.#afterMove();
  }

  #noteFollowing() {
    this.#following = this.#toEnd && this.#belowPx() <= BOTTOM_PX;
  }

  #afterMove() {
    this.look();
    this.#moveWindow();
    this.#showJump();
  }

  #showJump() {
    const isUnseen = (row) => row.type === "message" && !row.own && row.seq > this.#seenSeq;
    const unseen = this.#rows.filter(isUnseen).length;
    const label = unseen > 0 ? `${unseen} new messages, go to the latest` : "Go to the latest message";
    this.#jump.hidden = this.#following;
    this.#jump.classList.toggle("has-new", unseen > 0);
    this.#jump.querySelector(".jump-count").textContent = unseen > 0 ? String(unseen) : "";
    this.#jump.setAttribute("aria-label", label);
  }

  #moveWindow() {
    const { from, to } = this.#window();
    if (this.#scroller.scrollTop < EDGE_PX) {
      if (from > 0) this.#shiftTo(Math.max(0, from - STEP_ROWS));
      else this.#on.older();
    } else if (this.#belowPx() < EDGE_PX && to < this.#rows.length) {
      this.#shiftTo(Math.min(this.#rows.length - MAX_ROWS, from + STEP_ROWS));
    }
  }

  #shiftTo(from) {
    if (this.#following) return;
    this.#firstKey = this.#rows[from].key;
    this.#toEnd = from + MAX_ROWS >= this.#rows.length;
    this.#log.setAttribute("aria-live", "off");
    this.#keepPlace(() => this.#draw());
    this.#log.setAttribute("aria-live", "polite");
  }

  #belowPx() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #firstRowInSight() {
    const top = this.#scroller.getBoundingClientRect().top;
    return [...this.#log.children].find((row) => row.dataset.seq && row.getBoundingClientRect().bottom > top) ?? null;
  }

  #lastSeqInSight() {
    const bottom = this.#scroller.getBoundingClientRect().bottom;
    const rows = [...this.#log.children].filter((row) => row.dataset.seq);
    const last = rows.findLast((row) => row.getBoundingClientRect().bottom <= bottom + BOTTOM_PX);
    return Number(last?.dataset.seq ?? 0);
  }
}
