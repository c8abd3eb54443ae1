// The table of models: who answers, how well, what is under way, what needs somebody.
import { part } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count, figure, percent, share, when, words } from "../lib/format.js";
import { table } from "../lib/table.js";
import { empty } from "../lib/view.js";

const STATES = {
  empty: ["", "no model yet"], serving: ["good", "serving"], rollout: ["busy", "rollout"], frozen: ["warn", "frozen"], stopped: ["bad", "stopped"],
};
const ORDER = ["stopped", "frozen", "rollout", "serving", "empty"];
const RATES = new Set(["accuracy", "auc", "f1", "kappa", "mape", "r2"]);

export const modelLink = (model) => `/models/${part(model)}`;

export function stateBadge(state) {
  const [kind, word] = STATES[state] ?? ["", state];
  return h("span", { class: ["badge", kind] }, word);
}

/** A metric's value with its interval; shares as percent, for these are what people say. */
export function metricText(name, value) {
  return RATES.has(name) && name !== "kappa" && name !== "r2" ? percent(value, 1) : figure(value);
}

export function quality(found) {
  if (!found) return h("span", { class: "soft" }, "not measured yet");
  const { metric, value, low, high, rows, source } = found;
  const interval = low === null || low === undefined ? "" : `${metricText(metric, low)} to ${metricText(metric, high)}`;
  return h("div", { class: "quality", title: `${words(metric)} over ${count(rows)} labelled rows; the interval covers 95 %` },
    h("span", {}, h("b", {}, metricText(metric, value)), ` ${words(metric)}`, source === "estimate" ? " (estimated)" : ""),
    interval && h("small", { class: "soft nowrap" }, interval));
}

/** The versions that answer, as one bar and in words. */
export function shares(list) {
  const live = (list ?? []).filter((one) => one.share > 0 || one.mode === "SHADOW");
  if (!live.length) return h("span", { class: "soft" }, "nothing yet");
  const kinds = ["first", "second", "third"];
  return h("div", { class: "shares" },
    h("span", { class: "parts", "aria-hidden": "true" },
      live.map((one, at) => h("i", { class: kinds[Math.min(at, 2)], vars: { width: `${100 * one.share}%` } }))),
    live.map((one) => h("span", {}, `v${one.version} `, h("b", {}, one.mode === "SHADOW" ? "shadow" : share(one.share)))));
}

export function training(run) {
  if (!run) return h("span", { class: "soft" }, "–");
  return h("span", { class: "badge busy" }, `${run.stage || "run"} ${percent(run.progress_ratio)}`);
}

const needs = (model) => (model.waiting?.length ?? 0) + (model.alerts_open ?? 0);

const COLUMNS = [
  { name: "Model", sort: (m) => m.model, cell: (m) => h("a", { href: modelLink(m.model) }, m.model) },
  { name: "State", sort: (m) => String(ORDER.indexOf(m.state)), cell: (m) => stateBadge(m.state) },
  { name: "Champion", num: true, sort: (m) => m.champion_version, cell: (m) =>
    m.champion_version === null ? "–" : [`version ${m.champion_version}`, h("br"), h("small", { class: "soft" }, when(m.champion_since_ms))] },
  { name: "Traffic", cell: (m) => shares(m.shares) },
  { name: "Quality", sort: (m) => m.quality?.value ?? m.estimate?.value, num: true, cell: (m) => quality(m.quality ?? m.estimate) },
  { name: "Training", sort: (m) => (m.training ? "0" : "1"), cell: (m) =>
    m.training ? training(m.training) : m.last_run ? h("small", { class: "soft" }, words(m.last_run.status), " ", when(m.last_run.changed_at_ms)) : "–" },
  { name: "Newest drift", sort: (m) => m.last_drift?.detected_at_ms, num: false, cell: drift },
  { name: "Needs somebody", num: true, sort: needs, cell: (m) => needs(m) ? h("span", { class: "badge warn" }, count(needs(m))) : h("span", { class: "soft" }, "–") },
];

function drift({ last_drift: found }) {
  if (!found) return h("span", { class: "soft" }, "none");
  return [h("span", { class: ["badge", found.severity === "ALARM" ? "bad" : "odd"] }, subject(found.subject)), h("br"),
    h("small", { class: "soft" }, when(found.detected_at_ms))];
}

/** A drift's subject in words. */
export function subject(text) {
  const [kind, rest] = (text ?? "").split(/:(.*)/s);
  if (kind === "feature") return rest;
  if (kind === "score") return `score of class ${rest}`;
  return { error: "error", estimated_error: "estimated error", features: "features together", prediction: "predictions" }[kind] ?? text;
}

/** The table; `state` holds the order and the search word. */
export function models(list, state, redraw) {
  const wanted = (state.word ?? "").toLowerCase();
  const rows = wanted ? list.filter((one) => one.model.toLowerCase().includes(wanted)) : list;
  if (!list.length) return empty("No model yet", "Publish events: the first model is trained as soon as there are enough labelled rows.");
  if (!rows.length) return empty("No such model", `None of ${count(list.length)} has “${state.word}” in its name.`);
  return table({ label: "Models", columns: COLUMNS, rows, key: (m) => m.model, state, redraw });
}
