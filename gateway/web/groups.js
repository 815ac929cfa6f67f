/** The two dialogs of groups: make one; see who is in it, add people, leave. */

import { avatar, h } from "./dom.js";
import { isUserId } from "./ids.js";
import { RequestError } from "./requests.js";

/** The user ids of a text, split at spaces, commas and semicolons; throws a sentence that names the first bad one. */
export function usersIn(text) {
  const users = [...new Set(text.split(/[\s,;]+/).filter(Boolean))];
  const bad = users.find((user) => !isUserId(user));
  if (bad !== undefined) throw new RangeError(`“${bad}” is not a user id`);
  return users;
}

class GroupDialog {
  constructor(dialog, chat) {
    this.dialog = dialog;
    this.chat = chat;
    this.problem = dialog.querySelector(".problem");
    dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(() => this.submit());
    });
  }

  open() {
    this.problem.textContent = "";
    this.dialog.showModal();
  }

  /** Refusals and wrong input are shown in the dialog, which stays open. */
  async attempt(act) {
    this.problem.textContent = "";
    try {
      await act();
    } catch (error) {
      if (!(error instanceof RequestError || error instanceof RangeError)) throw error;
      this.problem.textContent = error.message;
    }
  }
}

export class NewGroupDialog extends GroupDialog {
  constructor(dialog, chat, created) {
    super(dialog, chat);
    this.created = created;
  }

  open() {
    this.dialog.querySelector("form").reset();
    super.open();
  }

  async submit() {
    const field = (name) => this.dialog.querySelector(`[name=${name}]`).value.trim();
    if (field("name") === "") throw new RangeError("A group needs a name");
    const members = usersIn(field("members")).filter((user) => user !== this.chat.me);
    const id = await this.chat.createGroup(field("name"), members);
    this.dialog.close();
    this.created(id);
  }
}

export class MembersDialog extends GroupDialog {
  #conversationId = null;
  #users = [];

  constructor(dialog, chat) {
    super(dialog, chat);
    dialog.querySelector(".leave").addEventListener("click", () => this.attempt(() => this.#leave()));
  }

  openFor(conversationId) {
    this.#conversationId = conversationId;
    this.dialog.querySelector("form").reset();
    this.#show([]);
    this.open();
    this.attempt(() => this.#list());
  }

  async submit() {
    const field = this.dialog.querySelector("[name=members]");
    const members = usersIn(field.value);
    if (members.length === 0) return;
    await this.chat.changeGroup(this.#frame("group.add", { members }));
    field.value = "";
    this.#show([...new Set([...this.#users, ...members])]);
  }

  async #list() {
    const { members } = await this.chat.request(this.#frame("group.members"));
    this.#show(members.map((member) => member.user_id));
  }

  #show(users) {
    this.#users = users;
    this.dialog.querySelector(".members").replaceChildren(
      ...users.map((user) => h("li", {}, avatar(user, "is-small"), h("span", {}, user))),
    );
  }

  async #leave() {
    await this.chat.changeGroup(this.#frame("group.leave"));
    this.dialog.close();
  }

  #frame(type, fields = {}) {
    return { type, conversation_id: this.#conversationId, ...fields };
  }
}
