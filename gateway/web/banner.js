/** The line above everything that says why nothing moves: its words (pure), and its element. */

import { timeOf } from "./wording.js";

const QUIET_MS = 1_000;
const ENDINGS = new Map([
  [4500, { text: "Your login is no longer valid", action: "Log in again" }],
  [4501, { text: "This user is suspended", action: "Try again" }],
  [4502, { text: "The chat was opened in another window", action: "Use it here" }],
  [4503, { text: "The server closed this connection", action: "Reload" }],
  [4504, { text: "You were disconnected", action: "Reload" }],
]);

/** `{text, detail, action}` or null; `detail` counts down and is not read out. */
export function bannerOf({ state, retryAtMs, lastContactMs, ending, sinceMs }, now) {
  if (state === "connected") return null;
  if (state === "closed") {
    const { text, action } = ENDINGS.get(ending.code) ?? { text: "The connection was closed", action: "Reload" };
    return { text: ending.reason ? `${text}: ${ending.reason}` : text, detail: "", action };
  }
  if (lastContactMs === null && now - sinceMs < QUIET_MS) return null;
  const contact = lastContactMs === null ? "" : ` · last contact ${timeOf(lastContactMs)}`;
  if (state === "connecting") return { text: "Connecting", detail: `…${contact}`, action: null };
  const seconds = Math.max(0, Math.ceil((retryAtMs - now) / 1000));
  return { text: "Reconnecting", detail: ` in ${seconds} s${contact}`, action: "Retry now" };
}

export class Banner {
  #element;
  #said;
  #counting;
  #button;

  constructor(element, act) {
    this.#element = element;
    this.#said = element.querySelector(".banner-text");
    this.#counting = element.querySelector(".banner-detail");
    this.#button = element.querySelector("button");
    this.#button.addEventListener("click", act);
  }

  /** Unchanged text is left alone, so that it is read out once. */
  show(banner) {
    this.#element.hidden = banner === null;
    if (banner === null) return;
    if (this.#said.textContent !== banner.text) this.#said.textContent = banner.text;
    this.#counting.textContent = banner.detail;
    this.#button.hidden = banner.action === null;
    this.#button.textContent = banner.action ?? "";
  }
}
