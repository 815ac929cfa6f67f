/**
 * Which missing messages to ask for, and when to believe that there are none. Pure.
 *
 * A hole is asked for once it is PATIENCE_MS old (the delivery may be right behind), one request at a time in a
 * conversation, later each time. After TRIES answers that show what lies beyond it, the hole holds nothing that we
 * may see. An answer that shows nothing at all says only that the history lags behind: that counts for little, since
 * it may lag for as long as its store is away.
 */

export const PATIENCE_MS = 300;
export const LONGEST_PAUSE_MS = 5000;
export const TRIES = 4;
/** Ten minutes. */
export const PATIENT_TRIES = 120;

export class Holes {
  #holes = new Map();

  /** Requests to make now: `{id, afterSeq}`. Each must end in `answered` or `unanswered`. */
  plan(conversations, now) {
    const requests = [];
    for (const { id, missingAfterSeq: afterSeq } of conversations) {
      if (afterSeq === null) this.#holes.delete(id);
      else if (this.#isDue(id, afterSeq, now)) requests.push(this.#request(id, afterSeq));
    }
    return requests;
  }

  /** True: the hole holds nothing that we may see. `empty`: the answer showed nothing from the hole on. */
  answered(id, empty, now) {
    const hole = this.#holes.get(id);
    if (!hole) return false;
    hole.tries += 1;
    this.unanswered(id, now);
    return hole.tries >= (empty ? PATIENT_TRIES : TRIES);
  }

  /** No answer proves nothing and is no try. */
  unanswered(id, now) {
    const hole = this.#holes.get(id);
    if (!hole) return;
    hole.asked = false;
    hole.dueAtMs = now + Math.min(PATIENCE_MS * 2 ** hole.tries, LONGEST_PAUSE_MS);
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
    this.#holes.get(id).asked = true;
    return { id, afterSeq };
  }
}
