/** The page of one logged-in user: events in, one drawing per turn out. The open conversation is the address's #. */

import { Banner, bannerOf } from "./banner.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { avatar } from "./dom.js";
import { MembersDialog, NewGroupDialog } from "./groups.js";
import { isConversationId } from "./ids.js";
import { Login } from "./login.js";
import { rowsOf } from "./rows.js";
import { Sidebar, titleOf } from "./sidebar.js";
import { Storage } from "./storage.js";
import { Timeline } from "./timeline.js";

const NAME = "Skein";
const FRAME_MS = 16;

export class App {
  #element;
  #login;
  #chat;
  #connection;
  #banner;
  #sidebar;
  #timeline;
  #composer;
  #newGroup;
  #members;
  #openId = null;
  /** The first unread message when the conversation was opened; stays until another is opened. */
  #firstNewSeq = null;
  #arrived = false;
  #drawing = false;
  #sinceMs = Date.now();

  constructor(element, login) {
    this.#element = element;
    this.#login = login;
    const storage = new Storage(login.user);
    this.#chat = new Chat({
      me: login.user,
      storage,
      transmit: (frame) => this.#connection.transmit(frame),
      changed: () => this.#draw(),
    });
    this.#connection = new Connection(login, storage.deviceId(), {
      frame: (frame) => this.#chat.receive(frame, Date.now()),
      cut: () => this.#chat.cut(),
      state: () => this.#draw(),
      tick: () => this.#tick(),
    });
    this.#makeViews(storage);
  }

  start() {
    this.#element.hidden = false;
    this.#element.querySelector(".self").append(avatar(this.#chat.me));
    this.#element.querySelector(".sidebar .bar-title").textContent = this.#chat.me;
    this.#listen();
    this.#connection.start();
    this.#follow();
  }

  #makeViews(storage) {
    const find = (selector) => this.#element.querySelector(selector);
    const chat = this.#chat;
    this.#banner = new Banner(find(".banner"), () => this.#actOnBanner());
    this.#sidebar = new Sidebar(find(".sidebar"), chat, {
      openConversation: (id) => this.#goTo(id),
      render: () => this.#draw(),
    });
    this.#timeline = new Timeline(find(".timeline"), chat.me, {
      older: () => this.#openId && chat.loadOlder(this.#openId),
      seen: (seq) => this.#openId && chat.read(this.#openId, seq),
      retry: (id) => chat.retry(id, Date.now()),
      discard: (id) => chat.discard(id),
    });
    this.#composer = new Composer(find(".composer"), storage, {
      send: (text) => this.#send(text),
      fits: (text) => chat.fits(text),
    });
    this.#newGroup = new NewGroupDialog(find(".new-group-dialog"), chat, (id) => this.#goTo(id));
    this.#members = new MembersDialog(find(".members-dialog"), chat);
  }

  #listen() {
    const click = (selector, act) => this.#element.querySelector(selector).addEventListener("click", act);
    click(".new-group", () => this.#newGroup.open());
    click(".show-members", () => this.#members.openFor(this.#openId));
    click(".back", () => this.#goTo(null));
    click(".log-out", () => this.#logOut());
    window.addEventListener("hashchange", () => this.#follow());
    window.addEventListener("focus", () => this.#timeline.look());
    document.addEventListener("visibilitychange", () => this.#timeline.look());
    document.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key !== "k") return;
      event.preventDefault();
      this.#goTo(null);
      this.#sidebar.focus();
    });
  }

  #goTo(id) {
    const hash = id === null ? "" : `#${id}`;
    if (window.location.hash === hash) return;
    window.location.hash = hash;
  }

  /** Opens what the address names. */
  #follow() {
    const id = decodeURIComponent(window.location.hash.slice(1));
    this.#openId = isConversationId(id) ? id : null;
    this.#firstNewSeq = null;
    this.#arrived = false;
    if (this.#openId !== null) this.#chat.open(this.#openId);
    this.#draw();
    if (this.#openId !== null) this.#composer.focus();
  }

  #send(text) {
    this.#chat.send(this.#openId, text, Date.now());
    this.#drawNow();
    this.#timeline.jumpToEnd();
  }

  #tick() {
    this.#chat.tick(Date.now());
    if (this.#connection.session.state !== "connected") this.#showBanner();
  }

  /** Many changes in one turn are one drawing; a hidden page draws too, for its title. */
  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    if (document.hidden) setTimeout(() => this.#drawNow(), FRAME_MS);
    else requestAnimationFrame(() => this.#drawNow());
  }

  #drawNow() {
    this.#drawing = false;
    const now = Date.now();
    this.#showBanner();
    this.#sidebar.show(this.#openId, now);
    this.#showConversation(now);
    const { totalUnread } = this.#chat.store;
    document.title = totalUnread > 0 ? `(${totalUnread}) ${NAME}` : NAME;
  }

  #showBanner() {
    const { state, retryAtMs, lastContactMs, ending } = this.#connection.session;
    this.#element.dataset.state = state;
    this.#banner.show(bannerOf({ state, retryAtMs, lastContactMs, ending, sinceMs: this.#sinceMs }, Date.now()));
  }

  #showConversation(now) {
    const open = this.#openId !== null;
    this.#element.classList.toggle("is-open", open);
    this.#element.querySelector(".nothing-open").hidden = open;
    this.#element.querySelector(".open").hidden = !open;
    if (!open) return;
    const conversation = this.#chat.store.conversation(this.#openId);
    this.#showHead(conversation);
    this.#noteArrival(conversation);
    const rows = rowsOf(conversation, this.#chat.outbox.entries(this.#openId), this.#chat.me, this.#firstNewSeq);
    this.#timeline.show(rows, {
      conversationId: this.#arrived ? this.#openId : null,
      inGroup: conversation.kind !== "direct",
      lastSeq: conversation.run.at(-1)?.seq ?? 0,
      firstNewSeq: this.#firstNewSeq,
      now,
    });
  }

  #showHead(conversation) {
    const title = titleOf(conversation, this.#chat.me);
    const group = conversation.kind !== "direct";
    const head = this.#element.querySelector(".open .bar");
    if (head.dataset.title !== title) {
      head.dataset.title = title;
      head.querySelector(".bar-title").textContent = title;
      head.querySelector(".peer").replaceChildren(avatar(title, group ? "is-group" : ""));
    }
    head.querySelector(".bar-detail").textContent = group ? "Group" : "Direct conversation";
    head.querySelector(".show-members").hidden = !group;
    this.#composer.show(this.#openId, title);
  }

  /** The place of the "New messages" line is fixed once, as soon as there is something to show. */
  #noteArrival(conversation) {
    if (this.#arrived || conversation.run.length === 0) return;
    this.#arrived = true;
    this.#firstNewSeq = conversation.firstUnreadSeq;
  }

  #actOnBanner() {
    const { session } = this.#connection;
    if (session.state !== "closed") this.#connection.retryNow();
    else if (session.ending.code === 4500) this.#logOut();
    else window.location.reload();
  }

  #logOut() {
    Login.forget();
    window.location.assign(window.location.pathname);
  }
}
