/** Words and figures for people. Pure: `locale` and `now` are parameters. */

const DAY_MS = 86_400_000;
const HUES = 8;

export function timeOf(ms, locale = undefined) {
  return new Date(ms).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", hour12: false });
}

/** A number that is the same for two times of one local day. */
export function dayOf(ms) {
  const date = new Date(ms);
  return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY_MS;
}

export function dayName(ms, now, locale = undefined) {
  const age = dayOf(now) - dayOf(ms);
  if (age === 0) return "Today";
  if (age === 1) return "Yesterday";
  const date = new Date(ms);
  if (age > 1 && age < 7) return date.toLocaleDateString(locale, { weekday: "long" });
  const sameYear = date.getFullYear() === new Date(now).getFullYear();
  return date.toLocaleDateString(locale, { day: "numeric", month: "long", year: sameYear ? undefined : "numeric" });
}

/** The short time of the conversation list. */
export function whenOf(ms, now, locale = undefined) {
  if (dayOf(ms) === dayOf(now)) return timeOf(ms, locale);
  const age = dayOf(now) - dayOf(ms);
  const form = age < 7 ? { weekday: "short" } : { day: "numeric", month: "short" };
  return new Date(ms).toLocaleDateString(locale, form);
}

/** One or two letters for an avatar. */
export function initialsOf(name) {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  const letters = words.slice(0, 2).map((word) => Array.from(word)[0]);
  return (letters.join("") || Array.from(name)[0] || "?").toUpperCase();
}

/** A steady colour number per name. */
export function hueOf(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) >>> 0;
  return sum % HUES;
}

export function listOf(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** The line that stands for a `group` or `member` event; an unknown action gets a plain sentence. */
export function eventText({ kind, sender, content }, me) {
  const person = (user) => (user === me ? "you" : user);
  const by = person(content?.by ?? sender);
  const named = (content?.users ?? []).map(person);
  const alone = named.length === 1 && named[0] === by;
  const users = alone ? named : named.filter((user) => user !== by);
  const lines = {
    "group.created": () => `${by} created the group${content.name ? ` “${content.name}”` : ""}`,
    "group.renamed": () => `${by} renamed the group to “${content.name}”`,
    "group.dissolved": () => `${by} closed the group`,
    "member.joined": () => (alone ? `${by} joined` : `${by} added ${listOf(users)}`),
    "member.removed": () => `${by} removed ${listOf(users)}`,
    "member.left": () => `${listOf(users.length ? users : [by])} left`,
    "member.role": () => `${by} made ${listOf(users)} ${content.role}`,
    "member.muted": () => `${by} muted ${users.length ? listOf(users) : "everyone"}`,
  };
  const line = lines[`${kind}.${content?.action}`]?.() ?? content?.text ?? "The group changed";
  return line.replace(/^you\b/, "You");
}

/** One line for the conversation list. */
export function previewOf(message, me) {
  if (!message) return "No messages yet";
  if (message.kind === "group" || message.kind === "member" || message.kind === "system") return eventText(message, me);
  const who = message.sender === me ? "You: " : "";
  return who + bodyOf(message);
}

/** What stands in a bubble. */
export function bodyOf(message) {
  if (message.recalled) return "This message was recalled";
  if (message.kind === "text") return message.content?.text ?? "";
  return `[${message.kind}]`;
}

export const STATUS_TEXT = {
  sending: "Sending",
  accepted: "Accepted",
  sent: "Sent",
  delivered: "Delivered",
  read: "Read",
  failed: "Not sent",
};

/** The text of a message in pieces: plain text and http(s) addresses. */
export function splitLinks(text) {
  const pieces = text.split(/(https?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)\]}])/);
  return pieces.map((piece, i) => ({ text: piece, link: i % 2 === 1 })).filter((piece) => piece.text);
}
