// A training run: its stages as they pass, its checks, its loss, its data, and what came of it.
import { part } from "../lib/api.js";
import { chartHolder, draw, seriesStyle } from "../lib/chart.js";
import { $, h } from "../lib/dom.js";
import { bytes, count, duration, figure, plural, sentence, shortId, when, words } from "../lib/format.js";
import { facts, plain } from "../lib/table.js";
import { card, empty } from "../lib/view.js";
import { cardLink } from "./evidence.js";
import { metricText } from "./models.js";

export const RUN = { STARTED: "busy", SUCCEEDED: "good", FAILED: "bad" };
export const runBadge = (status) => h("span", { class: ["badge", RUN[status]] }, status === "STARTED" ? "running" : words(status));

/** How far a run is, as a bar and in words. */
export function progress(run) {
  const now = run.progress;
  if (!now || run.status !== "STARTED") return null;
  return h("div", {}, h("span", { class: "bar progress", "aria-hidden": "true" }, h("i", { vars: { width: `${100 * (now.progress_ratio ?? 0)}%` } })),
    h("small", { class: "soft" }, `${words(now.stage)}, step ${now.step} of ${now.steps}${now.message ? `: ${now.message}` : ""}`));
}

export function verdict(run) {
  if (run.verdict === "REGISTERED" || run.version) return h("a", { href: cardLink(run.model, run.version) }, `version ${run.version}`);
  return run.verdict ? h("span", { class: "badge bad" }, words(run.verdict)) : h("span", { class: "soft" }, "–");
}

/** The whole page of a run. */
export function run(found) {
  return [
    head(found),
    found.stages?.length || found.losses?.length
      ? card({ title: "How it went", id: "stages-title" }, h("div", { class: "body" }, stages(found),
        found.losses?.length ? chartHolder("losses", `Loss by step: ${found.losses.map((one) => one.name).join(", ")}`, true) : null))
      : null,
    card({ title: "Checks", id: "checks-title", note: checked(found) }, checks(found)),
    h("div", { class: "columns even", key: "more" },
      card({ title: "Metrics on the hold-out rows", id: "metrics-title" }, metrics(found)),
      card({ title: "To repeat it", id: "repeat-title", note: "The same data, code and seed give the same model, byte for byte." }, repeat(found))),
  ];
}

function checked({ checks: all }) {
  return all?.length ? `${plural(all.length, "check")}, ${count(all.filter((one) => !one.passed).length)} failed.` : null;
}

function head(found) {
  const decision = found.decision;
  const title = sentence(found.because || words(found.trigger));
  return card({ title, id: "run-title", tools: [runBadge(found.status), verdict(found)] },
    h("div", { class: "body" },
      progress(found),
      found.error ? h("div", { class: "answer bad" }, h("strong", {}, "It failed"), h("span", {}, found.error)) : null,
      decision ? h("p", {}, h("strong", {}, `${sentence(words(decision.status))}: `), (decision.reasons ?? []).join("; ")) : null,
      h("dl", { class: "figures" },
        figureOf("Trained on", `${count(found.train_rows)} rows`),
        figureOf("Judged on", `${count(found.holdout_rows)} rows`),
        figureOf("Took", duration(found.duration_s)),
        figureOf("Began", when(found.began_at_ms)),
        figureOf("Family", words(found.family) || "–")),
      found.cause ? h("p", { class: "small" }, "Cause: ", cause(found.cause)) : null,
      found.snapshot_id ? h("p", { class: "small" }, reportLink(found), " of what it was trained on") : null));
}

function cause({ href, words: text, id }) {
  return href ? h("a", { href }, text || id) : text || id;
}

/** A link to the data report of what a run was trained on, in a tab of its own. */
export function reportLink(found, button) {
  const href = `/api/data-report?model=${part(found.model)}&snapshot=${part(found.snapshot_id)}`;
  return h("a", { href, target: "_blank", rel: "noopener", class: button && "button" }, "Data report");
}

export const figureOf = (name, what, note) => h("div", { class: "figure" }, h("dt", {}, name), h("dd", {}, what, note ? h("small", {}, note) : null));

function stages(found) {
  const seen = [...new Map((found.stages ?? []).map((one) => [one.stage, one])).values()];
  if (!seen.length) return null;
  const running = found.status === "STARTED";
  return h("ol", { class: "stages" }, seen.map((one, at) => h("li", { key: one.stage, class: running && at === seen.length - 1 ? "now" : "done",
    title: one.message }, words(one.stage), running && at === seen.length - 1 ? ` ${one.step} of ${one.steps}` : "")));
}

function checks(found) {
  if (!found.checks?.length) return empty("No checks yet", found.status === "STARTED" ? "They come when the fit is done." : "The log holds none of this run.");
  const rows = found.checks.toSorted((a, b) => a.passed - b.passed);
  return plain("Checks", ["Check", "Result", "Value#", "Limit#", "In words"], rows.map((one) => ({
    key: one.name, cells: [one.name, passed(one), figure(one.value), figure(one.limit), one.message],
  })), "");
}

export const passed = (one) => h("span", { class: ["badge", one.passed ? "good" : "bad"] }, one.passed ? "passed" : "failed");

function metrics(found) {
  const names = [...new Set([...Object.keys(found.metrics ?? {}), ...Object.keys(found.champion_metrics ?? {})])];
  if (!names.length) return empty("No metrics yet");
  const beside = found.champion_version ? `version ${found.champion_version}#` : "champion#";
  return plain("Metrics", ["Metric", "this run#", beside], [
    ...names.map((name) => ({ key: name, cells: [words(name), metricText(name, found.metrics?.[name]), metricText(name, found.champion_metrics?.[name])] })),
    ...Object.entries(found.baselines ?? {}).map(([name, value]) => ({ key: `baseline ${name}`, cells: [`baseline: ${words(name)}`, figure(value), ""] })),
  ]);
}

function repeat(found) {
  const ranges = (found.ranges ?? []).map((one) => `${one.topic}/${one.partition} ${count(one.from_offset)} to ${count(one.until_offset)}`);
  return h("div", { class: "body" }, facts([
    ["Window", found.window],
    ["Ranges", ranges.join("; ")],
    ["Left out", (found.excluded ?? []).length > 0 && plural(found.excluded.length, "range")],
    ["Snapshot", found.snapshot_id && shortId(found.snapshot_id, 24)],
    ["Table version", found.table_version],
    ["Rows", hash(found.rows_sha256)],
    ["Seed", found.seed],
    ["Code", hash(found.code_hash)],
    ["Settings", hash(found.config_hash)],
    ["Libraries", hash(found.lock_hash)],
    ["Feature set", hash(found.feature_set)],
    ["Model file", found.artifact_sha256 && [hash(found.artifact_sha256), ` ${bytes(found.artifact_bytes)}`]],
    ...Object.entries(found.params ?? {}).map(([name, value]) => [words(name), value]),
  ]));
}

const hash = (text) => text && shortId(text);

/** Draw the loss, once its holder is in the page. */
export async function drawLosses(root, found) {
  const holder = $("#losses", root);
  if (!holder || !found.losses?.length) return;
  await draw(holder, () => ({
    traces: found.losses.map((one, at) => ({
      type: "scatter", mode: one.points.length < 3 ? "lines+markers" : "lines", name: words(one.name),
      x: one.points.map((point) => point.step), y: one.points.map((point) => point.value),
      line: { color: seriesStyle(at + 1).colour, dash: seriesStyle(at + 1).dash, width: 2 },
      hovertemplate: `${words(one.name)} %{y:.4f} at step %{x}<extra></extra>`,
    })),
    layout: { height: 240, margin: { l: 8, r: 12, t: 28, b: 34 }, showlegend: true, xaxis: { automargin: true }, yaxis: { automargin: true, nticks: 5 } },
  }));
}
