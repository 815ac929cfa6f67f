/** Names: user ids, conversation ids and new client_msg_ids. Pure. */

const USER_ID = /^[A-Za-z0-9._-]{1,64}$/;
const CONVERSATION_ID = /^(d:[A-Za-z0-9._-]{1,64}:[A-Za-z0-9._-]{1,64}|[gc]:[A-Za-z0-9._-]{1,64})$/;

export const isUserId = (text) => USER_ID.test(text);
export const isConversationId = (text) => CONVERSATION_ID.test(text);

/** The direct conversation of two users: both ids sorted by code point. */
export function directConversation(one, other) {
  return `d:${[one, other].sort().join(":")}`;
}

/** The other user of a direct conversation; null for groups, channels and conversations of others. */
export function peerOf(conversationId, me) {
  const [kind, one, other] = conversationId.split(":");
  if (kind !== "d") return null;
  if (one === me) return other;
  return other === me ? one : null;
}

/** A UUIDv7: 48 bits of time, then 74 random bits. `random16` are 16 random bytes. */
export function newClientMsgId(nowMs, random16) {
  const bytes = Uint8Array.from(random16);
  for (let i = 0; i < 6; i += 1) bytes[i] = Math.floor(nowMs / 2 ** (8 * (5 - i))) % 256;
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
