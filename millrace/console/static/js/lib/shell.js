// What every page has: navigation counts, live state, theme, keys, announcements, toasts, the token.
import { get, setToken } from "./api.js";
import { $, h, patch } from "./dom.js";
import { count, tick } from "./format.js";
import { live } from "./live.js";
import { openBox } from "./over.js";

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };
const SAID = { live: "Live", reconnecting: "Reconnecting", paused: "Paused", connecting: "Connecting" };
let session = { actor: "" };

export const actor = () => localStorage.getItem("millrace-actor") || session.actor || "";
export const rememberActor = (name) => localStorage.setItem("millrace-actor", name);

/** Tell those who listen rather than look; also for tests of what was announced. */
export function announce(words) {
  const region = $("#said");
  region.textContent = "";
  requestAnimationFrame(() => {
    region.textContent = words;
  });
}

export function toast(words, kind = "") {
  const one = h("div", { class: ["toast", kind] }, words);
  $("#toasts").append(one);
  announce(words);
  setTimeout(() => one.remove(), 8000);
}

/** Put the counts into the navigation. */
export function badges(counts) {
  badge("alerts", counts.alerts_open, counts.alerts_critical ? "critical or open" : "open");
  const title = document.body.dataset.title;
  document.title = counts.alerts_critical ? `(${counts.alerts_critical}) ${title} · Millrace` : `${title} · Millrace`;
}

function badge(name, number, what) {
  const holder = $(`[data-count="${name}"]`);
  patch(holder, number ? h("span", { class: "count" }, count(number), h("span", { class: "sr" }, ` ${what}`)) : null);
}

function themes() {
  const select = $("#theme");
  select.value = localStorage.getItem("millrace-theme") ?? "auto";
  patch(select, Object.entries(THEMES).map(([value, name]) => h("option", { value }, name)));
  select.value = localStorage.getItem("millrace-theme") ?? "auto";
  select.addEventListener("change", () => {
    localStorage.setItem("millrace-theme", select.value);
    if (select.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = select.value;
    document.dispatchEvent(new CustomEvent("millrace:theme"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new CustomEvent("millrace:theme")));
}

const GOES = { o: "/", m: "/models", r: "/runs", d: "/dead-letters", a: "/alerts", u: "/audit" };

function keys() {
  let going = 0;
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.nodeName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
    if (event.key === "/" && $('input[type="search"]')) {
      event.preventDefault();
      $('input[type="search"]').focus();
    } else if (event.key === "?") help();
    else if (Date.now() - going < 1500 && GOES[event.key]) location.assign(GOES[event.key]);
    going = event.key === "g" ? Date.now() : 0;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.type === "search" && event.target.value) {
      event.target.value = "";
      event.target.dispatchEvent(new Event("input", { bubbles: true }));
      event.preventDefault();
    }
  });
  $("#keys").addEventListener("click", help);
}

function help() {
  const rows = [["/", "search on this page"], ["g o", "overview"], ["g m", "models"], ["g r", "runs"],
    ["g d", "dead letters"], ["g a", "alerts"], ["g u", "audit"], ["Esc", "close what is open"], ["?", "this list"]];
  openBox((close) => h("div", { class: "done" },
    h("h2", { id: "box-title" }, "Keys"),
    h("dl", { class: "facts" }, rows.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("div", { class: "row end" }, h("button", { type: "button", class: "main", onclick: close }, "Close"))));
}

function lock() {
  if ($("#token")) return;
  openBox((close) => h("form", {
    onsubmit: (event) => {
      event.preventDefault();
      setToken($("#token").value);
      close();
      location.reload();
    },
  },
  h("div", { class: "title" }, h("h2", { id: "box-title" }, "This console asks for a token"),
    h("p", { class: "soft" }, "Who runs it set one. It is kept in this tab, until you close it.")),
  h("label", { class: "field" }, h("span", {}, "Token"),
    h("input", { id: "token", type: "password", required: true, autocomplete: "current-password" })),
  h("div", { class: "row end" }, h("button", { class: "main", type: "submit" }, "Use it"))));
}

function states() {
  const holder = $("#live");
  live.on("state", ({ state }) => {
    holder.dataset.state = state;
    holder.textContent = SAID[state] ?? state;
    holder.title = state === "live" ? "This page follows what happens" : "What you see may be some seconds old";
  });
  live.on("tick", (event) => event.counts && badges(event.counts));
}

/** Make the page's frame work. Awaited by each page before its own parts, which need the session. */
export async function shell() {
  document.addEventListener("millrace:locked", lock);
  themes();
  keys();
  states();
  setInterval(tick, 1000);
  try {
    session = await get("/api/session");
  } catch (error) {
    if (error.status === undefined) throw error;
  }
  return session;
}
