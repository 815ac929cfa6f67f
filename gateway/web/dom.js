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

/**
 * Makes the children of `parent` those of `items`, in order: elements stay by `key`, and are made anew only when
 * `signature(item)` changes.
 */
export function reconcile(parent, items, { key, signature, make }) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const wanted = signature(item);
    let child = old.get(key(item));
    old.delete(key(item));
    if (child?.dataset.signature !== wanted) child = replaceBy(child, make(item), key(item), wanted);
    if (place && !place.isConnected) place = null;
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) child.remove();
}
