/**
 * Which groups to ask the name of: those whose naming is older than what we hold. Pure.
 *
 * The history may lag behind what was delivered, and refuses to know a new member for that long; so a group without a
 * name is asked again, later each time, TRIES times.
 */

export const PAUSE_MS = 500;
export const TRIES = 8;

export class Names {
  #asked = new Map();

  /** The ids to ask now. An answer gives the conversation its name; none, or a refusal, leaves it without. */
  plan(conversations, now) {
    return conversations
      .filter(({ id, kind, name }) => kind === "group" && name === null && this.#isDue(id, now))
      .map(({ id }) => id);
  }

  #isDue(id, now) {
    const { tries, dueAtMs } = this.#asked.get(id) ?? { tries: 0, dueAtMs: now };
    if (tries >= TRIES || now < dueAtMs) return false;
    this.#asked.set(id, { tries: tries + 1, dueAtMs: now + PAUSE_MS * 2 ** tries });
    return true;
  }
}
