// A part of a page that loads, shows and keeps itself up to date. It is patched, never replaced, so focus and scroll stay.
import { ApiError } from "./api.js";
import { h, patch } from "./dom.js";
import { live } from "./live.js";

const REST_MS = 400; // between two loads of one part: a burst of events becomes one
const AGAIN_MS = 3000;

/**
 * Show `render(await load())` in `holder`, and again whenever one of `kinds` happens.
 *
 * `only(event)` says whether an event is about this part. Returns {refresh, redraw, data}.
 */
export function view(holder, { load, render, kinds = [], only = () => true, loaded = () => {} }) {
  const own = { data: null, refresh, redraw, holder };
  let running = false;
  let again = false;
  let timer = 0;

  async function refresh() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    clearTimeout(timer);
    const began = Date.now();
    try {
      own.data = await load();
      redraw();
      loaded(own.data);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (own.data === null) patch(holder, failed(error, refresh));
      if (error.status === 0 || error.status >= 500) later(AGAIN_MS);
    } finally {
      running = false;
      holder.removeAttribute("aria-busy");
    }
    if (again) {
      again = false;
      later(Math.max(0, REST_MS - (Date.now() - began)));
    }
  }

  function later(ms) {
    clearTimeout(timer);
    timer = setTimeout(refresh, ms);
  }

  function redraw() {
    if (own.data === null) return;
    const made = render(own.data, own);
    if (made !== undefined) patch(holder, made); // undefined: it drew by itself
  }

  let due = 0;
  function soon(event) {
    if (!only(event) || due) return;
    due = setTimeout(() => {
      due = 0;
      refresh();
    }, REST_MS);
  }

  live.on([...kinds, "reset"], soon);
  live.on("state", ({ state, was }) => state === "live" && was !== "connecting" && soon({}));
  if (own.data === null) patch(holder, bones());
  holder.setAttribute("aria-busy", "true");
  refresh();
  return own;
}

export const bones = () => h("div", { class: "bones" }, h("span", { class: "sr" }, "Loading"), h("i"), h("i"), h("i"));

export function failed(error, retry) {
  return h("div", { class: "state failed", role: "alert" },
    h("strong", {}, error.status === 404 ? "Not found" : "This could not be loaded"),
    h("p", {}, error.message),
    retry && h("p", {}, h("button", { type: "button", class: "small", onclick: retry }, "Try again")));
}

export const empty = (title, words) => h("div", { class: "state" }, h("strong", {}, title), words && h("span", {}, words));

/** A card with a heading. */
export function card({ title, level = 2, note, tools, id, class: more }, ...body) {
  return h("section", { class: ["card", more], "aria-labelledby": id, key: id },
    h("header", {},
      h("div", {}, h(`h${level}`, { id }, title), note && h("p", {}, note)),
      tools && h("div", { class: "tools" }, tools)),
    ...body);
}
