// Which subject moved: the newest finding of each, with its two distributions drawn small.
import { get, part } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { figure, when } from "../lib/format.js";
import { empty } from "../lib/view.js";
import { heights } from "./evidence.js";
import { subject } from "./models.js";

const SHOWN = 8;
const details = new Map(); // a finding never changes, so each is read once

/** The newest finding of each subject, its evidence read beforehand so that drawing is one step. */
export async function movedData(model, drifts) {
  const newest = new Map();
  for (const drift of drifts) {
    const name = `${drift.subject} ${drift.slice}`;
    if (!newest.has(name)) newest.set(name, drift);
  }
  const shown = [...newest.values()].slice(0, SHOWN);
  await Promise.all(shown.map(async ({ drift_id: id }) => {
    if (!details.has(id)) details.set(id, await get(`/api/models/${part(model)}/drifts/${part(id)}`).catch(() => null));
  }));
  return shown.map((drift) => ({ ...drift, detail: details.get(drift.drift_id) }));
}

export function moved(rows, choose) {
  if (!rows.length) return empty("Nothing moved", "The monitor judges every event; what it finds stands here.");
  return h("ul", { class: "list" }, rows.map((one) => h("li", { key: one.drift_id, class: "moved-item" },
    h("div", {},
      h("div", {}, h("button", { type: "button", class: "link", onclick: () => choose(one) }, subject(one.subject)), one.slice ? ` where ${one.slice}` : "", " ",
        h("span", { class: ["badge", one.severity === "ALARM" ? "bad" : "odd"] }, one.severity.toLowerCase())),
      h("small", { class: "soft" }, `${figure(one.before)} → ${figure(one.after)} · version ${one.version} · `, when(one.detected_at_ms))),
    spark(one.detail?.distribution))));
}

/** Two histograms as outlines: before dashed, after filled. */
function spark(found) {
  if (!found?.before_counts?.length) return h("span");
  const [width, height] = [96, 28];
  const { bins, before_counts: old, after_counts: now } = found;
  const edges = !found.categories?.length;
  const most = Math.max(...heights(old, bins, edges), ...heights(now, bins, edges)) || 1;
  const place = (at) => (width * (edges ? (bins[at] - bins[0]) / (bins.at(-1) - bins[0] || 1) : at / old.length)).toFixed(1);
  const top = (value) => (height - 1 - ((height - 4) * value) / most).toFixed(1);
  const path = (counts) => heights(counts, bins, edges).map((value, at) => `${at ? "L" : "M"}${place(at)} ${top(value)} H${place(at + 1)}`).join(" ");
  return h("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    h("path", { class: "after", d: `${path(now)} V${height} H0 Z` }),
    h("path", { class: "before", d: path(old) }));
}
