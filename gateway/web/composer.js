/** The field to write in. Enter sends, Shift+Enter breaks the line; a draft stays with its conversation. */

const COMPOSING_KEY_CODE = 229;
const MAX_HEIGHT_PX = 200;

export class Composer {
  #field;
  #button;
  #hint;
  #storage;
  #conversationId = null;
  #on;

  /** `on` has `send(text)` and `fits(text)`. */
  constructor(form, storage, on) {
    this.#field = form.querySelector("textarea");
    this.#button = form.querySelector("button");
    this.#hint = form.querySelector(".composer-hint");
    this.#storage = storage;
    this.#on = on;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#field.addEventListener("keydown", (event) => this.#pressed(event));
    this.#field.addEventListener("input", () => this.#written());
  }

  show(conversationId, label) {
    if (conversationId === this.#conversationId) return;
    this.#conversationId = conversationId;
    this.#field.value = this.#storage.draft(conversationId);
    this.#field.setAttribute("aria-label", `Message to ${label}`);
    this.#fit();
  }

  focus() {
    this.#field.focus();
  }

  /** An Enter that ends an input method's composition belongs to the input method. */
  #pressed(event) {
    const composing = event.isComposing || event.keyCode === COMPOSING_KEY_CODE;
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    this.#send();
  }

  #written() {
    this.#storage.keepDraft(this.#conversationId, this.#field.value);
    this.#fit();
  }

  #send() {
    const text = this.#field.value.trim();
    if (text === "" || !this.#on.fits(text)) return;
    this.#field.value = "";
    this.#written();
    this.#on.send(text);
    this.focus();
  }

  #fit() {
    const fits = this.#on.fits(this.#field.value);
    this.#hint.hidden = fits;
    this.#button.disabled = !fits || this.#field.value.trim() === "";
    this.#field.style.height = "auto";
    this.#field.style.height = `${Math.min(MAX_HEIGHT_PX, this.#field.scrollHeight)}px`;
  }
}
