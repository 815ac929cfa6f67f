/** Frames that get a reply: `re` finds the promise. Pure; time is a parameter. */

export const REPLY_TIMEOUT_MS = 15_000;

/** The server refused, or no reply can come any more (`code` 0, temporary). */
export class RequestError extends Error {
  constructor({ code, name, message, temporary }) {
    super(message);
    this.code = code;
    this.codeName = name;
    this.temporary = temporary;
  }
}

const LOST = { code: 0, name: "connection_lost", message: "The connection was lost", temporary: true };

export class Requests {
  #waiting = new Map();
  #lastId = 0;

  /** Gives the frame its `id`, and the promise of the reply. */
  begin(frame, now) {
    this.#lastId += 1;
    const id = this.#lastId;
    const reply = new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, untilMs: now + REPLY_TIMEOUT_MS });
    });
    return { frame: { ...frame, id }, reply };
  }

  /** Returns false if nobody waits for this reply. */
  settle(reply) {
    const waiting = this.#waiting.get(reply.re);
    if (!waiting) return false;
    this.#waiting.delete(reply.re);
    if (reply.type === "error") waiting.reject(new RequestError(reply));
    else waiting.resolve(reply);
    return true;
  }

  /** The connection is gone: replies to what was asked on it will not come. */
  abandon() {
    this.expire(Infinity);
  }

  expire(now) {
    for (const [id, { reject, untilMs }] of this.#waiting) {
      if (untilMs > now) continue;
      this.#waiting.delete(id);
      reject(new RequestError(LOST));
    }
  }
}
