/** The one socket of a session: performs what `Session` decides, and feeds it what happens. */

import { LoginError } from "./login.js";
import { Session } from "./session.js";

const TICK_MS = 250;
const BAD_TOKEN = 4500;
const REFUSALS = new Map([
  [401, { code: BAD_TOKEN, reason: "The login is no longer valid" }],
  [403, { code: 4501, reason: "This user is suspended" }],
]);

export class Connection {
  #socket = null;
  #login;
  #deviceId;
  #on;
  #lastState = null;
  #renewed = false;
  session = new Session();

  /** `login.token()` resolves with a fresh JWT; `on` has `frame(frame)`, `cut()`, `state()` and `tick()`. */
  constructor(login, deviceId, on) {
    this.#login = login;
    this.#deviceId = deviceId;
    this.#on = on;
  }

  start() {
    window.addEventListener("online", () => this.#feed((now) => this.session.hurry(now)));
    window.addEventListener("offline", () => this.#feed((now) => this.session.probe(now)));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#feed((now) => this.session.hurry(now));
    });
    setInterval(() => {
      this.#feed((now) => this.session.tick(now));
      this.#on.tick();
    }, TICK_MS);
    this.#feed((now) => this.session.start(now));
  }

  retryNow() {
    this.#feed((now) => this.session.hurry(now));
  }

  transmit(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** Tell the session, then do what it wants. */
  #feed(tell) {
    tell(Date.now());
    for (const command of this.session.take()) {
      if (command.do === "open") this.#open(command.sessionId);
      if (command.do === "send") this.transmit(command.frame);
      if (command.do === "close") this.#release();
    }
    const { state } = this.session;
    if (this.#lastState === "connected" && state !== "connected") this.#on.cut();
    if (this.#lastState !== state) this.#on.state();
    const ended = this.#lastState !== state && state === "closed";
    this.#lastState = state;
    if (state === "connected") this.#renewed = false;
    if (ended && this.session.ending.code === BAD_TOKEN) this.#renew();
  }

  /** A token that ran out is replaced and used once; a fresh one that is refused too stays refused. */
  async #renew() {
    if (this.#renewed) return;
    this.#renewed = true;
    if (await orFalse(this.#login.renew())) this.#feed((now) => this.session.start(now));
  }

  async #open(sessionId) {
    this.#release();
    const attempt = {};
    this.#socket = attempt;
    const token = await orFalse(this.#login.token());
    if (this.#socket !== attempt) return;
    if (token === false) {
      this.#feed((now) => this.session.closed(0, now));
      return;
    }
    const query = new URLSearchParams({ device_id: this.#deviceId, platform: "web" });
    if (sessionId) query.set("session_id", sessionId);
    const address = new URL(`/v1/ws?${query}`, window.location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.#listen(new WebSocket(address, ["im.v1.json", `bearer.${token}`]), token);
  }

  #listen(socket, token) {
    this.#socket = socket;
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
    });
    socket.addEventListener("message", ({ data }) => {
      if (this.#socket === socket) this.#receive(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code }) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#feed((now) => this.session.closed(code, now));
      if (!opened) this.#askWhy(token);
    });
  }

  #receive(frame) {
    this.#feed((now) => this.session.receive(frame, now));
    this.#on.frame(frame);
  }

  /** A browser hides why an upgrade was refused; the same token over HTTP tells. */
  async #askWhy(token) {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch("/v1/conversations?limit=1", { headers }).catch(() => null);
    const refusal = REFUSALS.get(answer?.status);
    if (refusal && this.session.state !== "connected") {
      this.#feed(() => this.session.refuse(refusal.code, refusal.reason));
    }
  }

  /** Lets go of the socket: whatever it still says is not heard. */
  #release() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close?.();
  }
}

/** The result, or false if nobody could be logged in now. */
async function orFalse(attempt) {
  try {
    return await attempt;
  } catch (error) {
    if (!(error instanceof LoginError)) throw error;
    return false;
  }
}
