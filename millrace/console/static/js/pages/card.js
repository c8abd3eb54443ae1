// A version's model card: what it is, what it learned from, how it was tested, who agreed, where its limits are.
import { get, part } from "../lib/api.js";
import { $, h } from "../lib/dom.js";
import { count, figure, share, shortId, stamp, when, words } from "../lib/format.js";
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";
import { facts, plain } from "../lib/table.js";
import { card, empty, view } from "../lib/view.js";
import { runLink } from "../parts/evidence.js";
import { metricText } from "../parts/models.js";
import { figureOf, passed } from "../parts/run.js";

const { model, version } = document.body.dataset;
const path = `/api/models/${part(model)}/card/${version}`;

await shell();
$("#card").className = "stack";
view($("#card"), {
  load: () => get(path),
  render: (found) => [summary(found), limits(found), quality(found), checks(found), served(found)],
  loaded: () => live.start(),
});

function summary(found) {
  const ranges = found.ranges.map((one) =>
    `${one.topic}, partition ${one.partition}, ${count(one.from_offset)} to ${count(one.until_offset)}`);
  const markdown = h("a", { href: `${path}?format=markdown`, target: "_blank", rel: "noopener" }, "As Markdown");
  return card({ title: "What it is", id: "what-title", tools: markdown }, h("div", { class: "body" },
    h("dl", { class: "figures" },
      figureOf("Status", words(found.status), found.space),
      figureOf("Trained on", `${count(found.train_rows)} rows`),
      figureOf("Judged on", `${count(found.holdout_rows)} rows`),
      figureOf("Registered", when(found.registered_at_ms))),
    facts([
      ["Because", found.because],
      ["Family", words(found.family)],
      ["Window", found.window],
      ["Run", h("a", { href: runLink(model, found.run_id) }, shortId(found.run_id, 24))],
      ["Rows", ranges.join("; ")],
      ["Source", found.source],
      ["Model file", found.artifact_sha256 && shortId(found.artifact_sha256)],
      ["Signed with", found.key_id ?? "nothing"],
      ["Approved by", found.approved_by.join(", ")],
      ...Object.entries(found.params).map(([name, value]) => [words(name), value]),
    ])));
}

function limits(found) {
  const lines = h("ul", { class: "plain-list" }, found.limits.map((line) => h("li", {}, line)));
  return card({ title: "What limits it", id: "limits-title" }, h("div", { class: "body" }, lines));
}

function quality(found) {
  const names = [...new Set([...Object.keys(found.metrics), ...Object.keys(found.champion_metrics)])];
  const beside = found.champion_version ? `version ${found.champion_version}#` : "no champion then#";
  const note = "On rows that are newer than its training rows, and that it never saw.";
  return card({ title: "How good it is", id: "quality-title", note }, plain("Metrics", ["Metric", `version ${version}#`, beside], [
    ...names.map((name) => ({
      key: name, cells: [words(name), metricText(name, found.metrics[name]), metricText(name, found.champion_metrics[name])],
    })),
    ...Object.entries(found.baselines).map(([name, value]) => (
      { key: `baseline ${name}`, cells: [`baseline: ${words(name)}`, figure(value), ""] })),
  ]));
}

function checks(found) {
  const rows = found.checks.map((one) => ({ key: one.name, cells: [one.name, passed(one), one.message] }));
  return card({ title: "Checks", id: "checks-title" },
    rows.length ? plain("Checks", ["Check", "Result", "In words"], rows, "") : empty("The log holds none"));
}

function served(found) {
  const line = (one) => `epoch ${one.epoch}, ${one.variant}, ${share(one.share)}: ${stamp(one.from_ms)} to `
    + `${one.until_ms ? stamp(one.until_ms) : "now"} UTC`;
  return card({ title: "Where it answered", id: "served-title" },
    found.served.length ? h("ul", { class: "list" }, found.served.map((one) => h("li", {}, line(one)))) : empty("Nowhere yet"));
}
