/* The page's nodes: found, made and coloured without markup in strings, so a strict CSP and hostile names do no harm. */
import { change, clock } from "./words.js";

export const $ = (id) => document.getElementById(id);

/** An element with properties (attributes where there is no such property) and children; null children are left out. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** A bar of parts `[class, width, title]` side by side, `whole` wide; the title is optional. */
export function bar(parts, whole, attributes = {}) {
  let end = 0;
  const rects = parts.map(([kind, width, title]) => {
    end += width;
    const words = title ? [svg("title", {}, title)] : [];
    return svg("rect", { class: kind, x: end - width, width, height: 1 }, ...words);
  });
  return svg("svg", { class: "bar", viewBox: `0 0 ${whole} 1`, preserveAspectRatio: "none", ...attributes }, ...rects);
}

/** The mark of a change against the baseline, or null. */
export function chip(objective, delta) {
  const words = change(objective, delta);
  if (!words) return null;
  const times = words.times ? el("span", { className: "times" }, ` (${words.times})`) : null;
  return el("span", { className: `ch ${words.kind}` }, words.text, times, el("span", { className: "sr" }, `, ${words.spoken}`));
}

export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
export const isDark = () => document.documentElement.dataset.theme === "dark";
export const isNarrow = () => innerWidth <= 640;

/** Put the reader's time zone into every time the server wrote. */
export function localTimes(root = document) {
  for (const node of root.querySelectorAll("time:not([data-ago])")) {
    say(node, clock(node.dateTime));
    node.title ||= new Date(node.dateTime).toLocaleString();
  }
}

/** Text only where it differs, so that selections and screen readers are left alone. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
