// Elements from plain calls, and a patch that changes only what differs, so that focus, scroll and text being typed stay.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "circle", "rect", "text", "tspan", "line", "title", "polygon", "a-svg"]);
const LIVE = new Set(["value", "checked", "selected"]); // what a person changes: set when made, never patched

/** Make an element. `attributes`: `key` names it among its siblings, `on…` are listeners, `class` may be a list. */
export function h(tag, attributes, ...children) {
  const svg = SVG_TAGS.has(tag);
  const element = svg
    ? document.createElementNS(SVG, tag === "a-svg" ? "a" : tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

function set(element, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name === "key") element.dataKey = String(value);
  else if (name.startsWith("on")) listen(element, name.slice(2).toLowerCase(), value);
  else if (name === "class") element.setAttribute("class", [value].flat().filter(Boolean).join(" "));
  else if (name === "vars") for (const [one, to] of Object.entries(value)) element.style.setProperty(one, to);
  else if (LIVE.has(name)) element[name] = value;
  else element.setAttribute(name, value === true ? "" : String(value));
}

function listen(element, type, handler) {
  element.handlers ??= {};
  if (!(type in element.handlers)) element.addEventListener(type, dispatch);
  element.handlers[type] = handler;
}

function dispatch(event) {
  return event.currentTarget.handlers?.[event.type]?.(event);
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Make `holder` contain `children`, keeping the elements that are there already and match. */
export function patch(holder, ...children) {
  if (!holder) return;
  const wanted = document.createDocumentFragment();
  append(wanted, children);
  patchChildren(holder, [...wanted.childNodes]);
}

function patchChildren(holder, wanted) {
  const pairs = paired(holder, wanted);
  const kept = new Set(pairs.map(([old]) => old));
  // What is not wanted goes first: then what stays need not move, and an element that does not move keeps the focus.
  for (const child of [...holder.childNodes]) if (!kept.has(child)) child.remove();
  let at = holder.firstChild;
  for (const [old, next] of pairs) {
    const node = old ?? next;
    if (node === at) at = at.nextSibling;
    else holder.insertBefore(node, at);
    if (old) patchNode(old, next);
  }
}

/** Each wanted node with the one there already that becomes it, or null. */
function paired(holder, wanted) {
  const keyed = new Map();
  const loose = [];
  for (const child of holder.childNodes) {
    if (child.dataKey === undefined) loose.push(child);
    else keyed.set(child.dataKey, child);
  }
  let from = 0;
  return wanted.map((next) => {
    if (next.dataKey !== undefined) {
      const old = keyed.get(next.dataKey);
      keyed.delete(next.dataKey);
      return [old?.nodeName === next.nodeName ? old : null, next];
    }
    const found = loose.findIndex((child, place) => place >= from && child.nodeName === next.nodeName);
    if (found < 0) return [null, next];
    from = found + 1;
    return [loose[found], next];
  });
}

function patchNode(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  if (old.hasAttribute("data-kept")) return; // somebody else draws inside, such as the chart library
  for (const { name, value } of [...next.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
  for (const [type, handler] of Object.entries(next.handlers ?? {})) listen(old, type, handler);
  for (const type of Object.keys(old.handlers ?? {})) if (!next.handlers?.[type]) delete old.handlers[type];
  if (old.nodeName === "TEXTAREA" || old.nodeName === "SELECT") return;
  patchChildren(old, [...next.childNodes]);
}

export const $ = (selector, root = document) => root.querySelector(selector);
