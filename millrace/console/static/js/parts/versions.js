// The versions of a model as a table, with what may be done to each, and two of them side by side.
import { h } from "../lib/dom.js";
import { act, verbName } from "../lib/action.js";
import { figure, isNumber, sentence, share, when, words } from "../lib/format.js";
import { table } from "../lib/table.js";
import { card, empty } from "../lib/view.js";
import { cardLink, runLink } from "./evidence.js";
import { metricText } from "./models.js";

const STATUS = { PROMOTED: "good", REGISTERED: "busy", RETIRED: "", REJECTED: "bad" };
const OF_A_VERSION = ["approve", "reject", "promote", "rollback", "retire"];

/** A version in a space before production is not there yet, whatever its newest fact is called. */
function status(version) {
  const early = version.status === "PROMOTED" && version.space !== "production";
  return h("span", { class: ["badge", early ? "busy" : STATUS[version.status]] }, early ? `in ${version.space}` : words(version.status));
}

/** `picked`: a Set of two versions at most; `actions`: what the API says may be done. */
export function versions({ model, list, metric, picked, actions, state, redraw, done }) {
  if (!list.length) return empty("No version yet", "A run that passes its checks becomes the first.");
  const may = (verb, version) => actions.find((one) => one.verb === verb)?.possible && actions.find((one) => one.verb === verb).versions.includes(version);
  const columns = [
    { name: "Version", sort: (v) => v.version, num: false, cell: (v) => pick(v, picked, redraw) },
    { name: "Status", cell: status },
    { name: "Traffic", num: true, sort: (v) => v.serving_share, cell: (v) => (v.serving_share ? h("b", {}, share(v.serving_share)) : "–") },
    { name: "hold-out", head: `${words(metric)}, hold-out`, num: true, sort: (v) => v.metrics[metric], cell: (v) => beside(v, metric) },
    { name: "live", head: "live", num: true, sort: (v) => v.live?.value, cell: (v) => live(v) },
    { name: "Registered", sort: (v) => v.registered_at_ms, cell: (v) => when(v.registered_at_ms) },
    { name: "Because", class: "words", cell: (v) => [v.because || "–", h("br"), h("small", {}, h("a", { href: runLink(model, v.run_id) }, "run"), " · ",
      h("a", { href: cardLink(model, v.version) }, "model card"))] },
    { name: "Actions", cell: (v) => h("div", { class: "verbs" }, OF_A_VERSION.filter((verb) => may(verb, v.version)).map((verb) =>
      h("button", { type: "button", class: ["small", verb === "approve" && "main"], onclick: () => act({ verb, model, version: v.version, done }),
        "aria-label": `${verbName(verb)}: version ${v.version}` }, verb === "rollback" ? "Roll back" : verbName(verb)))) },
  ];
  return table({ label: "Versions", columns, rows: list, key: (v) => v.version, state, redraw });
}

function pick(version, picked, redraw) {
  return h("label", { class: "pick" },
    h("input", {
      type: "checkbox", checked: picked.has(version.version), key: `pick ${version.version}`, onchange: (event) => {
        if (event.target.checked) {
          if (picked.size > 1) picked.delete([...picked][0]);
          picked.add(version.version);
        } else picked.delete(version.version);
        redraw(true);
      },
    }), `version ${version.version}`);
}

function beside(version, metric) {
  const own = version.metrics[metric];
  const other = version.champion_metrics?.[metric];
  if (!isNumber(own)) return "–";
  return [metricText(metric, own), isNumber(other) && version.champion_version
    ? [h("br"), h("small", { class: "soft nowrap" }, `v${version.champion_version} had ${metricText(metric, other)}`)] : null];
}

function live({ live: found }) {
  if (!found) return "–";
  return [metricText(found.metric, found.value), isNumber(found.low)
    ? [h("br"), h("small", { class: "soft nowrap" }, `${metricText(found.metric, found.low)} to ${metricText(found.metric, found.high)}`)] : null];
}

/** Two versions side by side; the better figure has a sign, not only a colour. */
export function comparison(found) {
  const groups = Map.groupBy(found.rows, (row) => row.group);
  const [a, b] = [found.a.version, found.b.version];
  return card({ title: `Version ${a} beside version ${b}`, id: "compare-title", note: sentence(found.words) },
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Comparison" }, h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), h("th", { class: "num", scope: "col" }, `version ${a}`), h("th", { class: "num", scope: "col" }, `version ${b}`),
        h("th", { class: "num", scope: "col" }, "Difference"))),
      [...groups].map(([group, rows]) => h("tbody", { key: group },
        h("tr", {}, h("th", { colspan: "4", scope: "colgroup", class: "soft" }, sentence(group))),
        rows.map((row) => h("tr", { key: row.name }, h("th", { scope: "row" }, words(row.name)),
          h("td", { class: ["num", row.better === "a" && "better"] }, value(row.a, row.unit)),
          h("td", { class: ["num", row.better === "b" && "better"] }, value(row.b, row.unit)),
          h("td", { class: "num" }, difference(row)))))))));
}

function value(what, unit) {
  if (what === null || what === undefined) return "–";
  if (typeof what === "boolean") return what ? "yes" : "no";
  const text = isNumber(what) ? figure(what) : String(what);
  return h("span", { title: text }, text.length > 24 ? `${text.slice(0, 12)}…${text.slice(-6)}` : text, unit ? ` ${unit}` : "");
}

function difference(row) {
  if (!isNumber(row.difference)) return String(row.a) === String(row.b) ? "same" : "differs";
  if (row.difference === 0) return "same";
  return `${row.difference > 0 ? "+" : "−"}${figure(Math.abs(row.difference))}`;
}
