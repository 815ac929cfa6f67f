/**
 * The life of one login over many sockets. Pure: time is a parameter, what must be done comes out of `take()`.
 *
 *   disconnected ──start, retry, online──▶ connecting ──welcome──▶ connected
 *        ▲                                     │                       │
 *        └──────────── closed(code), no answer in time ────────────────┘
 *   closed: a close code from 4500 on, or `refuse`; only `start` leaves it.
 *
 * Promises: at most one socket; every delivery is acked within ACK_DELAY_MS; silence of the server is found by
 * a ping that nobody answers; waits between tries are random up to a ceiling that doubles, never above 30 s.
 */

export const ACK_DELAY_MS = 500;
export const CONNECT_TIMEOUT_MS = 10_000;
export const PONG_TIMEOUT_MS = 10_000;
export const PROBE_TIMEOUT_MS = 2_000;
export const RESUME_WINDOW_MS = 30_000;
export const RETRY_BASE_MS = 1_000;
export const RETRY_CAP_MS = 30_000;
export const FIRST_TERMINAL_CODE = 4500;

const LOST = 1006;

/** The wait before try number `attempt` (from 0): full jitter under a doubling ceiling. */
export function retryDelayMs(attempt, random) {
  return Math.floor(random * Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** attempt));
}

export class Session {
  #random;
  #commands = [];
  #attempt = 0;
  #sessionId = null;
  #cutAtMs = null;
  #seenN = 0;
  #heartbeatMs = 30_000;
  #due = { open: null, connect: null, ack: null, ping: null, answer: null, move: null };

  state = "disconnected";
  lastContactMs = null;
  /** Why the session is closed for good: `{code, reason}`. */
  ending = null;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** The commands since the last call: `{do: "open", sessionId}`, `{do: "send", frame}`, `{do: "close"}`. */
  take() {
    const commands = this.#commands;
    this.#commands = [];
    return commands;
  }

  /** When the next try to connect begins; null unless waiting for it. */
  get retryAtMs() {
    return this.#due.open;
  }

  start(now) {
    this.ending = null;
    this.#open(now);
  }

  /** A network appeared, or the user asked: try now, or make sure that the socket still lives. */
  hurry(now) {
    if (this.state === "disconnected" && this.#due.open !== null) this.#open(now);
    if (this.state === "connected") this.probe(now);
  }

  /** Ask for a sign of life that must come within PROBE_TIMEOUT_MS. */
  probe(now) {
    if (this.state !== "connected") return;
    this.#ping(now, PROBE_TIMEOUT_MS);
  }

  receive(frame, now) {
    this.lastContactMs = now;
    this.#due.answer = null;
    if (frame.type === "welcome") this.#welcome(frame, now);
    if (frame.type === "deliver") this.#noteDelivery(frame.n, now);
    if (frame.type === "drain") this.#due.move = now + frame.reconnect_after_ms;
    if (frame.type === "kicked") this.ending = { code: frame.code, reason: frame.reason };
  }

  /** The socket is gone, for whatever reason; unknown codes count as a lost line. */
  closed(code, now) {
    if (this.state === "closed") return;
    if (this.state === "connected") this.#cutAtMs = now;
    this.#clear();
    if (code >= FIRST_TERMINAL_CODE && code < 5000) {
      this.refuse(code, this.ending?.reason ?? "");
      return;
    }
    this.state = "disconnected";
    this.#due.open = now + retryDelayMs(this.#attempt, this.#random());
    this.#attempt += 1;
  }

  /** No further try: the server will not have us (close codes from 4500 on, or an answer to HTTP). */
  refuse(code, reason) {
    this.#clear();
    this.#sessionId = null;
    this.ending = { code, reason };
    this.state = "closed";
  }

  tick(now) {
    const late = (name) => this.#due[name] !== null && this.#due[name] <= now;
    if (late("connect") || late("answer")) return this.#cut(now);
    if (late("move")) return this.#moveOn(now);
    if (late("open")) return this.#open(now);
    if (late("ack")) this.#ack();
    if (late("ping")) this.#ping(now, PONG_TIMEOUT_MS);
    return undefined;
  }

  #open(now) {
    this.#clear();
    this.state = "connecting";
    this.#due.connect = now + CONNECT_TIMEOUT_MS;
    const resumable = this.#cutAtMs !== null && now - this.#cutAtMs < RESUME_WINDOW_MS;
    this.#commands.push({ do: "open", sessionId: resumable ? this.#sessionId : null });
  }

  #welcome(frame, now) {
    if (!frame.resumed) this.#seenN = 0;
    this.state = "connected";
    this.#attempt = 0;
    this.#sessionId = frame.session_id;
    this.#heartbeatMs = frame.heartbeat_s * 1000;
    this.#due.connect = null;
    this.#due.ping = now + this.#heartbeatMs;
  }

  /** A retransmission has an `n` that is acked already: it is acked once more. */
  #noteDelivery(n, now) {
    this.#seenN = Math.max(this.#seenN, n);
    this.#due.ack ??= now + ACK_DELAY_MS;
  }

  #ack() {
    this.#due.ack = null;
    this.#send({ type: "ack", n: this.#seenN });
  }

  /** Pings go out every heartbeat, also while we send: their `pong` tells of a lost tail. */
  #ping(now, timeoutMs) {
    this.#due.ping = now + this.#heartbeatMs;
    this.#due.answer = now + timeoutMs;
    this.#send({ type: "ping" });
  }

  #cut(now) {
    this.#commands.push({ do: "close" });
    this.closed(LOST, now);
  }

  /** The gateway drains: leave it and connect again at once; its load balancer picks another. */
  #moveOn(now) {
    if (this.#due.ack !== null) this.#ack();
    this.#commands.push({ do: "close" });
    this.#cutAtMs = now;
    this.#open(now);
  }

  #send(frame) {
    this.#commands.push({ do: "send", frame });
  }

  #clear() {
    for (const name of Object.keys(this.#due)) this.#due[name] = null;
  }
}
