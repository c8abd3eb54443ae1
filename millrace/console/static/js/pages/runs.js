// All training runs, or those of one model: page by page, newest first; what is under way moves.
import { get } from "../lib/api.js";
import { $, h, patch } from "../lib/dom.js";
import { duration, plural, when, words } from "../lib/format.js";
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";
import { Pages, moreButton, table } from "../lib/table.js";
import { empty, view } from "../lib/view.js";
import { runLink } from "../parts/evidence.js";
import { fromAddress, searchOf, selectOf, toAddress } from "../parts/filters.js";
import { metricText, modelLink } from "../parts/models.js";
import { progress, runBadge, verdict } from "../parts/run.js";

const own = document.body.dataset.model;
const chosen = fromAddress(["model", "status", "trigger"]);
const state = { shown: Infinity };
const pages = new Pages(async (cursor) => {
  const page = await get("/api/runs", { ...chosen, model: own ?? chosen.model, cursor, limit: 50 });
  return { rows: page.runs, next: page.next, total: page.total };
}, (one) => `${one.model} ${one.run_id}`);

const COLUMNS = [
  { name: "Run", cell: (one) => [h("a", { href: runLink(one.model, one.run_id) }, words(one.trigger)), own ? null : [h("br"), h("small", {}, h("a", { href: modelLink(one.model) }, one.model))]] },
  { name: "Status", cell: (one) => [runBadge(one.status), progress(one)] },
  { name: "Because", class: "words", cell: (one) => [one.because, one.error ? [h("br"), h("small", { class: "soft" }, one.error)] : null] },
  { name: "Metric", num: true, cell: metric },
  { name: "Checks", cell: (one) => one.checks_failed ? h("span", { class: "badge bad" }, `${one.checks_failed} failed`) : one.checks_passed ? h("span", { class: "badge good" }, `${one.checks_passed} passed`) : "–" },
  { name: "Became", cell: (one) => verdict(one) },
  { name: "Took", num: true, cell: (one) => duration(one.duration_s) },
  { name: "When", cell: (one) => when(one.changed_at_ms) },
];

function metric(one) {
  const [name] = Object.keys(one.metrics ?? {});
  if (!name) return "–";
  const beside = one.champion_metrics?.[name];
  return [metricText(name, one.metrics[name]), h("br"), h("small", { class: "soft nowrap" }, beside === undefined ? words(name) : `champion ${metricText(name, beside)}`)];
}

await shell();
const list = view($("#runs"), {
  load: () => pages.newest(),
  kinds: ["run", "version"],
  only: (event) => !own || !event.model || event.model === own,
  render: () => {
    $("#runs-note").textContent = `${plural(pages.first.total ?? pages.rows.length, "run")}, ${pages.rows.length} shown.`;
    patch($("#runs-tools"), tools());
    patch($("#runs-more"), moreButton(pages, () => list.redraw()));
    $("#runs-more").hidden = !pages.next;
    if (!pages.rows.length) return empty("No such run", Object.values(chosen).some(Boolean) ? "Choose other filters." : "The first begins when there are enough labelled rows.");
    return table({ label: "Runs", columns: COLUMNS, rows: pages.rows, key: pages.key, state, redraw: () => list.redraw(), fresh: (one) => pages.fresh.has(pages.key(one)) });
  },
  loaded: () => live.start(),
});

function choose(name, value) {
  chosen[name] = value;
  toAddress(chosen);
  pages.clear();
  list.refresh();
}

function tools() {
  return [
    own ? null : searchOf("Model", chosen.model, (value) => choose("model", value)),
    selectOf("Status", chosen.status, [["", "any status"], ["STARTED", "running"], ["SUCCEEDED", "succeeded"], ["FAILED", "failed"]], (value) => choose("status", value)),
    selectOf("Cause", chosen.trigger, [["", "any cause"], ["DRIFT", "drift"], ["OPERATOR", "operator"], ["FIRST_DATA", "first data"], ["SCHEDULE", "schedule"]], (value) => choose("trigger", value)),
  ];
}
