/**
 * What survives a reload, in this browser's localStorage, per user: unanswered messages, drafts, the device
 * id. Each unanswered message has a key of its own, so two tabs do not overwrite each other.
 * If the browser refuses to store (private mode, full), the page works on without surviving a reload.
 */

const DEVICE_ID_BYTES = 9;

export class Storage {
  #prefix;
  #area;

  constructor(user, area = window.localStorage) {
    this.#prefix = `skein/${user}/`;
    this.#area = area;
  }

  /** One device per user and browser: a second tab replaces the first (close code 4502). */
  deviceId() {
    const known = this.#read("device");
    if (known) return known;
    const bytes = crypto.getRandomValues(new Uint8Array(DEVICE_ID_BYTES));
    const id = `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    this.#write("device", id);
    return id;
  }

  outboxEntries() {
    return this.#keys("outbox/").map((key) => this.#read(key)).filter(Boolean);
  }

  keepEntry(entry) {
    this.#write(`outbox/${entry.client_msg_id}`, entry);
  }

  dropEntry(entry) {
    this.#area.removeItem(`${this.#prefix}outbox/${entry.client_msg_id}`);
  }

  draft(conversationId) {
    return this.#read(`draft/${conversationId}`) ?? "";
  }

  keepDraft(conversationId, text) {
    if (text) this.#write(`draft/${conversationId}`, text);
    else this.#area.removeItem(`${this.#prefix}draft/${conversationId}`);
  }

  #keys(start) {
    const all = Array.from({ length: this.#area.length }, (_, i) => this.#area.key(i));
    return all
      .filter((key) => key.startsWith(this.#prefix + start))
      .map((key) => key.slice(this.#prefix.length));
  }

  #read(key) {
    const text = this.#area.getItem(this.#prefix + key);
    if (text === null) return null;
    try {
      return JSON.parse(text);
    } catch (error) {
      console.warn(`unreadable ${key} is ignored`, error);
      return null;
    }
  }

  #write(key, value) {
    try {
      this.#area.setItem(this.#prefix + key, JSON.stringify(value));
    } catch (error) {
      console.warn(`${key} will not survive a reload`, error);
    }
  }
}
