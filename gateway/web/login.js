/** Who the user is, and fresh tokens for as long as he is. */

import { isUserId } from "./ids.js";

const REMEMBERED = "skein/login";
const EXPIRY_MARGIN_MS = 30_000;

/** Nobody is logged in; the message says why. */
export class LoginError extends Error {}

/** The server does not log in by name alone: a token is needed. */
export class TokenNeeded extends LoginError {}

/** The claims of a JWT; null if this is none. Only the server checks the signature. */
export function claimsOf(token) {
  const part = token.split(".")[1] ?? "";
  try {
    return JSON.parse(atob(part.replace(/-/g, "+").replace(/_/g, "/")));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof DOMException) return null;
    throw error;
  }
}

export class Login {
  #token;
  #renewable;

  constructor(user, token, renewable) {
    this.user = user;
    this.#token = token;
    this.#renewable = renewable;
  }

  /** A demo user. Throws `TokenNeeded` where demo logins are off. */
  static async asDemoUser(user) {
    return new Login(user, await demoToken(user), true);
  }

  /** Returns null if the text is not a token with a user and time left. */
  static withToken(token) {
    const user = claimsOf(token)?.sub;
    return isUserId(user ?? "") && !isExpired(token) ? new Login(user, token, false) : null;
  }

  /** The login of this tab before a reload; null if there was none. */
  static async remembered() {
    const known = JSON.parse(sessionStorage.getItem(REMEMBERED) ?? "null");
    if (known?.token) return Login.withToken(known.token);
    return known?.user ? Login.asDemoUser(known.user) : null;
  }

  remember() {
    const known = this.#renewable ? { user: this.user } : { token: this.#token };
    sessionStorage.setItem(REMEMBERED, JSON.stringify(known));
  }

  static forget() {
    sessionStorage.removeItem(REMEMBERED);
  }

  /** A token that is good for a connect now; a demo login renews it by itself. Throws `LoginError`. */
  async token() {
    if (isExpired(this.#token)) await this.renew();
    return this.#token;
  }

  /** A new token for a demo user; false for who brought his own. Throws `LoginError`. */
  async renew() {
    if (this.#renewable) this.#token = await demoToken(this.user);
    return this.#renewable;
  }
}

function isExpired(token) {
  const expiresAtS = claimsOf(token)?.exp;
  return expiresAtS !== undefined && expiresAtS * 1000 < Date.now() + EXPIRY_MARGIN_MS;
}

async function demoToken(user) {
  const answer = await fetch("/demo/token", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ user_id: user }),
  }).catch((error) => {
    throw new LoginError("the server cannot be reached", { cause: error });
  });
  if (answer.status === 404) throw new TokenNeeded("a token is needed");
  if (!answer.ok) throw new LoginError(`the server answered ${answer.status}`);
  return (await answer.json()).token;
}
