// What lies over a page: a box that asks, a drawer that shows. Both are <dialog>: Esc closes, focus stays in and comes back.
import { h } from "./dom.js";

function open(kind, make, closed) {
  const from = document.activeElement;
  const holder = h("dialog", { class: kind, "aria-labelledby": `${kind}-title` });
  const close = () => holder.close();
  holder.append(...[make(close, holder)].flat());
  holder.addEventListener("click", (event) => event.target === holder && outside(holder, event) && close());
  holder.addEventListener("close", () => {
    holder.remove();
    closed?.();
    if (from?.isConnected) from.focus({ preventScroll: true });
  });
  document.body.append(holder);
  holder.showModal();
  return holder;
}

function outside(holder, event) {
  const box = holder.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}

/** A box in the middle. `make(close, dialog)` gives its content, with a heading of id `box-title`. */
export const openBox = (make, closed) => open("box", make, closed);

/** A drawer at the right. Only one at a time: a second one takes the first one's place. */
export function openDrawer({ title, note, body }, closed) {
  document.querySelector("dialog.drawer")?.close();
  return open("drawer", (close) => [
    h("header", {},
      h("div", {}, h("h2", { id: "drawer-title", tabindex: "-1", autofocus: true }, title), note && h("p", { class: "soft small" }, note)),
      h("button", { type: "button", class: "close", onclick: close, "aria-label": "Close" }, "✕")),
    h("div", { class: "body" }, body),
  ], closed);
}
