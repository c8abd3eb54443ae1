// What happened to a model: the kinds of marks, their signs and lanes, and the list of them beside the chart.
import { h } from "../lib/dom.js";
import { count, eventTime, stamp, when } from "../lib/format.js";

// Lanes of the timeline, top to bottom; a kind's sign and Plotly symbol say the same.
export const LANES = ["drift", "request", "run", "version", "deployment", "other"];
export const LANE_NAMES = { drift: "Drifts", request: "Requests", run: "Runs", version: "Versions", deployment: "Deployments", other: "Alerts, data" };
const KINDS = {
  drift: { sign: "◆", symbol: "diamond", lane: "drift" },
  request: { sign: "↻", symbol: "hexagon", lane: "request" },
  run: { sign: "■", symbol: "square", lane: "run" },
  version: { sign: "●", symbol: "circle", lane: "version" },
  deployment: { sign: "▲", symbol: "triangle-up", lane: "deployment" },
  alert: { sign: "▼", symbol: "triangle-down", lane: "other" },
  quality: { sign: "✚", symbol: "cross", lane: "other" },
  action: { sign: "★", symbol: "star", lane: "other" },
  snapshot: { sign: "–", symbol: "line-ns-open", lane: "other" },
};
const TONES = { ALARM: "bad", WARNING: "warn", GOOD: "good", INFO: "busy" };

export const kindOf = (mark) => KINDS[mark.kind] ?? KINDS.action;
export const toneOf = (mark) => TONES[mark.severity] ?? "busy";

/** The same as the chart shows, as a table: for the keyboard, for a screen reader, and to search by eye. */
export function markTable(marks, total, axis, choose) {
  const time = axis === "event" ? (mark) => eventTime(mark.event_ms ?? mark.at_ms) : (mark) => when(mark.wall_ms ?? mark.at_ms);
  const rows = [...marks].sort((a, b) => b.at_ms - a.at_ms);
  return h("details", { class: "marks", key: "marks" },
    h("summary", {}, `The same as a list: ${count(marks.length)}${total > marks.length ? ` of ${count(total)}` : ""} marks`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Marks of the timeline" },
      h("table", {},
        h("thead", {}, h("tr", {}, ["What", axis === "event" ? "Event time" : "When", "Version", "In words"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, rows.map((mark) => h("tr", { key: `${mark.kind} ${mark.id}` },
          h("th", { scope: "row", class: "nowrap" }, h("span", { class: ["sign", toneOf(mark)], "aria-hidden": "true" }, kindOf(mark).sign), " ",
            h("button", { type: "button", class: "link", onclick: () => choose(mark) }, mark.title)),
          h("td", {}, time(mark)),
          h("td", {}, mark.version === null ? "" : `v${mark.version}`),
          h("td", { class: "words" }, mark.text)))))));
}

/** What a mark says when pointed at. */
export function hover(mark) {
  const estimated = mark.time_from === "nearest_metric" ? "<br><i>placed at the newest event time measured by then</i>" : "";
  return `<b>${escape(mark.title)}</b><br>${escape(cut(mark.text))}<br>${stamp(mark.at_ms)} UTC${estimated}<extra></extra>`;
}

const cut = (text) => (text ?? "").replace(/(.{1,60})(\s|$)/g, "$1<br>").split("<br>").slice(0, 3).join("\n").trim();
const escape = (text) => (text ?? "").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("\n", "<br>");
