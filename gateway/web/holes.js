/**
 * Which missing messages to ask for, and when to believe that there are none. Pure.
 *
 * A hole is asked for once it is PATIENCE_MS old (the delivery may be right behind), one request at a time in a
 * conversation. History may lag behind, so an answer that does not fill the hole is asked again, later each time;
 * after TRIES of them the hole holds nothing that we may see.
 */

export const PATIENCE_MS = 300;
export const TRIES = 4;

export class Holes {
  #holes = new Map();

  /** Requests to make now: `{id, afterSeq, settle}`; `settle`: the last try. Each must end in `answered`. */
  plan(conversations, now) {
    const requests = [];
    for (const { id, missingAfterSeq: afterSeq } of conversations) {
      if (afterSeq === null) this.#holes.delete(id);
      else if (this.#isDue(id, afterSeq, now)) requests.push(this.#request(id, afterSeq));
    }
    return requests;
  }

  /** `heard` is false if the request got no answer: that proves nothing and does not count as a try. */
  answered(id, heard, now) {
    const hole = this.#holes.get(id);
    if (!hole) return;
    hole.asked = false;
    if (heard) hole.tries += 1;
    hole.dueAtMs = now + PATIENCE_MS * 2 ** hole.tries;
  }

  #isDue(id, afterSeq, now) {
    const hole = this.#holes.get(id);
    if (hole?.asked) return false;
    if (hole?.afterSeq === afterSeq) return hole.dueAtMs <= now;
    const dueAtMs = hole ? now : now + PATIENCE_MS;
    this.#holes.set(id, { afterSeq, tries: 0, dueAtMs, asked: false });
    return dueAtMs <= now;
  }

  #request(id, afterSeq) {
    const hole = this.#holes.get(id);
    hole.asked = true;
    return { id, afterSeq, settle: hole.tries + 1 >= TRIES };
  }
}
