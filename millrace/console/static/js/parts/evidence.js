// The evidence of a drift, so that a person can check it: which, since when, how sure, the two distributions, what followed.
import { part } from "../lib/api.js";
import { chartHolder, colours, draw, faint } from "../lib/chart.js";
import { $, h } from "../lib/dom.js";
import { count, eventTime, figure, isNumber, percent, plural, sentence, shortId, when, words } from "../lib/format.js";
import { facts, plain } from "../lib/table.js";
import { subject } from "./models.js";

export const driftLink = (model, id) => `/models/${part(model)}/drifts/${part(id)}`;
export const runLink = (model, id) => `/models/${part(model)}/runs/${part(id)}`;
export const cardLink = (model, version) => `/models/${part(model)}/card/${version}`;

const COMPARED = { training: "the rows that the version was trained on", before: "the rows before" };

/** The sections of a drift. Call `drawEvidence` when they are in the page. */
export function evidence(drift) {
  return [
    h("section", {},
      h("p", {}, h("span", { class: ["badge", drift.severity === "ALARM" ? "bad" : "odd"] }, drift.severity.toLowerCase()), " ",
        drift.confirmed_by ? h("span", { class: "badge good" }, `confirmed by ${drift.confirmed_by}`) : h("span", { class: "badge" }, "not confirmed")),
      h("ul", { class: "plain-list" }, (drift.words?.length ? drift.words : [drift.message]).map((line) => h("li", {}, sentence(line)))),
      drift.recurs_version ? h("p", {}, `The rows now look like those that version ${drift.recurs_version} was trained on: it can be offered back.`) : null),
    drift.distribution && distribution(drift),
    h("section", {}, h("h3", {}, "How sure"), sure(drift)),
    drift.rests_on?.length ? rests(drift) : null,
    h("section", {}, h("h3", {}, "What followed"), followed(drift)),
  ];
}

function sure(drift) {
  const rows = [
    ["Subject", `${subject(drift.subject)}${drift.slice ? `, where ${drift.slice}` : ""}`],
    ["Began", drift.since_time_ms ? eventTime(drift.since_time_ms) : null],
    ["Noticed", [eventTime(drift.time_ms), " (event time), ", when(drift.detected_at_ms)]],
    ["Before", `${figure(drift.before)} over ${plural(drift.before_rows ?? 0, "row")}`],
    ["After", `${figure(drift.after)} over ${plural(drift.after_rows ?? 0, "row")}`],
    ["Compared with", COMPARED[drift.compared_with] ?? drift.compared_with],
    ["Detector", detector(drift)],
    ["Statistic", isNumber(drift.statistic) && `${figure(drift.statistic)}, had to pass ${figure(drift.threshold)}`],
    ["Chance without a change", isNumber(drift.p_value) && figure(drift.p_value)],
    ["Evidence against no change", isNumber(drift.log_e_value) && eValue(drift.log_e_value)],
    ["Version", drift.version],
    ["Place", [`partition ${drift.partition}`, drift.sample_offset === undefined ? "" : `, samples offset ${count(drift.sample_offset)}`]],
    ["Id", shortId(drift.drift_id, 24)],
  ];
  return facts(rows);
}

function detector({ detector: name, parameters }) {
  const set = Object.entries(parameters ?? {}).map(([one, value]) => `${words(one)} ${figure(value)}`);
  return set.length ? `${name} (${set.join(", ")})` : name;
}

/** An e-value as odds; its logarithm says little to anybody. */
function eValue(log) {
  const tens = log / Math.LN10;
  return tens > 6 ? `about 10${raised(Math.floor(tens))} to 1` : `about ${count(Number(Math.exp(log).toPrecision(2)))} to 1`;
}

const raised = (number) => [...String(number)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");

function labels(drift) {
  const { bins, categories, before_counts: counts } = drift.distribution;
  if (categories?.length) return categories;
  return counts.map((_, at) => `${figure(bins[at])} to ${figure(bins[at + 1])}`);
}

function distribution(drift) {
  const { before_counts: before, after_counts: after, before_label: old, after_label: now } = drift.distribution;
  const [all, fresh] = [sum(before), sum(after)];
  return h("section", {},
    h("h3", {}, `${sentence(subject(drift.subject))}: ${old} and ${now}`),
    chartHolder("distribution", `Histogram of ${subject(drift.subject)}: ${old} beside ${now}. The table below says the same.`, true),
    h("details", {}, h("summary", {}, "The same as a table"),
      plain("Distribution", ["Value", `${old}#`, `${now}#`], labels(drift).map((label, at) => (
        { key: label, cells: [label, percent(before[at] / all, 1), percent(after[at] / fresh, 1)] })))));
}

const sum = (list) => list.reduce((total, value) => total + value, 0) || 1;

/** How high bars stand: over edges the area is the share, so that a wide bin does not look like much more than it holds. */
export function heights(counts, bins, edges) {
  const shares = counts.map((value) => value / sum(counts));
  if (!edges) return shares;
  const least = (bins.at(-1) - bins[0]) / 1000 || 1;
  return shares.map((value, at) => value / Math.max(bins[at + 1] - bins[at], least));
}

/** Draw the chart of `evidence`, once it is in the page. */
export async function drawEvidence(root, drift) {
  const holder = $("#distribution", root);
  if (!holder) return;
  await draw(holder, () => {
    const colour = colours();
    const { bins, categories, before_counts: before, after_counts: after, before_label: old, after_label: now } = drift.distribution;
    const edges = !categories?.length;
    const x = edges ? before.map((_, at) => (bins[at] + bins[at + 1]) / 2) : categories;
    const width = edges ? before.map((_, at) => bins[at + 1] - bins[at]) : undefined;
    const bar = (counts, name, fill, line, pattern) => ({
      type: "bar", x, width, y: heights(counts, bins, edges), customdata: counts.map((value) => value / sum(counts)), name,
      marker: { color: fill, line: { width: 1.5, color: line }, pattern },
      hovertemplate: `${name}<br>%{x}: %{customdata:.1%} of the rows<extra></extra>`,
    });
    return {
      traces: [
        bar(before, old, faint(colour["accent-fill"], 0.35), colour["accent-fill"]),
        bar(after, now, faint(colour["bad-fill"], 0.3), colour["bad-fill"],
          { shape: "/", size: 6, solidity: 0.25, fgcolor: colour["bad-fill"] }),
      ],
      layout: {
        height: 250, barmode: edges ? "overlay" : "group", bargap: edges ? 0 : 0.2, margin: { l: 8, r: 8, t: 28, b: 34 },
        xaxis: { automargin: true, showgrid: false }, yaxis: { tickformat: edges ? "" : ".0%", automargin: true, nticks: 5, fixedrange: true,
          title: { text: edges ? "density" : "share of the rows", font: { size: 12, color: colour.soft } } },
      },
    };
  });
}

/** Findings by how far apart their two distributions are, the farthest first; each subject once. */
export function furthest(drifts) {
  const ordered = [...drifts].sort((a, b) => (b.distance ?? -1) - (a.distance ?? -1));
  return ordered.filter((one, at) => ordered.findIndex((other) => other.subject === one.subject && other.slice === one.slice) === at);
}

function rests(drift) {
  return h("section", {}, h("h3", {}, "It rests on, what moved most first"),
    h("ul", { class: "plain-list" }, furthest(drift.rests_on).map((one) => h("li", {},
      h("a", { href: driftLink(drift.model, one.drift_id) }, subject(one.subject)),
      ` ${one.detector}: ${figure(one.before)} → ${figure(one.after)} `, when(one.detected_at_ms)))));
}

function followed({ followed_by: then, model }) {
  if (!then?.request && !then?.run) return h("p", { class: "soft" }, "Nothing: it was recorded as evidence.");
  const steps = [
    then.request && ["a retrain was asked for", when(then.request.requested_at_ms)],
    then.run && [h("a", { href: runLink(model, then.run.run_id) }, `a run ${then.run.status.toLowerCase()}`), when(then.run.changed_at_ms)],
    then.version && [h("a", { href: cardLink(model, then.version) }, `it became version ${then.version}`), null],
    then.deployment && [`${words(then.deployment.kind)} at epoch ${then.deployment.epoch}`, when(then.deployment.decided_at_ms)],
  ].filter(Boolean);
  return h("ol", { class: "plain-list" }, steps.map(([what, at]) => h("li", {}, what, at ? " " : "", at)));
}
