/** Starts the page: login, then one `App` that joins the chat, its socket and the views. */

import { App } from "./app.js";
import { Login, LoginError, TokenNeeded } from "./login.js";
import { isUserId } from "./ids.js";

const page = document.querySelector("main.login");
const form = page.querySelector("form");
const field = form.elements.login;
const problem = form.querySelector(".problem");
let byToken = false;

function enter(login) {
  login.remember();
  page.hidden = true;
  new App(document.querySelector(".app"), login).start();
}

function ask(message = "") {
  page.hidden = false;
  form.querySelector(".login-text").textContent = byToken
    ? "Paste a token for this server."
    : "Any name will do on this demo server.";
  form.querySelector(".login-label").textContent = byToken ? "Token" : "User id";
  form.querySelector(".suggestions").hidden = byToken;
  problem.textContent = message;
  field.focus();
}

/** Tries a login; where the server wants a token, asks for one. */
async function attempt(act) {
  try {
    const login = await act();
    if (login) enter(login);
    else ask();
  } catch (error) {
    if (!(error instanceof LoginError)) throw error;
    byToken ||= error instanceof TokenNeeded;
    field.value = "";
    ask(error instanceof TokenNeeded ? "" : `Login failed: ${error.message}`);
  }
}

async function logIn(text) {
  if (byToken) {
    const login = Login.withToken(text);
    if (!login) throw new LoginError("this is not a valid token");
    return login;
  }
  if (!isUserId(text)) throw new LoginError("a user id is up to 64 letters, digits, dots, dashes and underscores");
  return Login.asDemoUser(text);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => logIn(field.value.trim()));
});
for (const chip of form.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => attempt(() => logIn(chip.value)));
}

const wanted = new URLSearchParams(window.location.search).get("as");
attempt(() => (wanted === null ? Login.remembered() : logIn(wanted)));
