/** Making and keeping elements. Text gets in by `textContent` only; nothing here reads HTML. */

import { hueOf, initialsOf } from "./wording.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`null` and `false` are left out, functions listen) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else setAttribute(element, name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

export function setAttribute(element, name, value) {
  if (value === null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}

/** One of the drawings at the end of index.html; with a `label` it is an image of its own, else decoration. */
export function icon(name, label = null) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon icon-${name}`);
  if (label === null) svg.setAttribute("aria-hidden", "true");
  else {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  }
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

export function avatar(name, size = "") {
  return h("span", { class: `avatar ${size} hue-${hueOf(name)}`, "aria-hidden": "true" }, initialsOf(name));
}

/** element → {key, signature} of the item that it shows. */
const shown = new WeakMap();

/**
 * Makes the children of `parent` those of `items`, in order. An element stays as long as its item's `key` and
 * `signature` do; `update` then brings in what may change without a new element.
 */
export function reconcile(parent, items, { key, signature, make, update = () => {} }) {
  const old = new Map([...parent.children].map((child) => [shown.get(child)?.key, child]));
  const wanted = items.map((item) => {
    const known = old.get(key(item));
    const sign = signature(item);
    const child = known && shown.get(known).signature === sign ? known : make(item);
    shown.set(child, { key: key(item), signature: sign });
    update(child, item);
    return child;
  });
  const staying = new Set(wanted);
  for (const child of [...parent.children]) if (!staying.has(child)) child.remove();
  wanted.forEach((child, i) => {
    const there = parent.children[i] ?? null;
    if (there !== child) parent.insertBefore(child, there);
  });
}

export function keyOf(element) {
  return shown.get(element)?.key;
}
