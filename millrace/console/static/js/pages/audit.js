// The audit log: who decided what, who was refused, and why.
import { get } from "../lib/api.js";
import { $, h, patch } from "../lib/dom.js";
import { plural, shortId, when, words } from "../lib/format.js";
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";
import { Pages, moreButton, table } from "../lib/table.js";
import { empty, view } from "../lib/view.js";
import { fromAddress, searchOf, selectOf, toAddress } from "../parts/filters.js";
import { modelLink } from "../parts/models.js";

const chosen = fromAddress(["model", "actor", "action", "outcome"]);
const state = { shown: Infinity };
const pages = new Pages(async (cursor) => {
  const page = await get("/api/audit", { ...chosen, cursor, limit: 50 });
  return { ...page, rows: page.audits };
}, (one) => one.audit_id);

const COLUMNS = [
  { name: "When", cell: (one) => when(one.recorded_at_ms) },
  { name: "Who", cell: (one) => one.actor },
  { name: "What", cell: (one) => [words(one.action), one.version === null ? "" : ` version ${one.version}`] },
  { name: "Of", cell: (one) => (one.model ? h("a", { href: modelLink(one.model) }, one.model) : one.subject) },
  { name: "Outcome", cell: (one) => h("span", { class: ["badge", one.outcome === "ACCEPTED" ? "good" : "bad"] }, words(one.outcome)) },
  { name: "Why", class: "words", cell: (one) => one.reason },
  { name: "Epoch", num: true, cell: (one) => one.epoch ?? "–" },
  { name: "Caused by", cell: (one) => (one.caused_by ? shortId(one.caused_by) : "–") },
];

await shell();
const list = view($("#audit"), {
  load: () => pages.newest(),
  kinds: ["audit", "alert_action", "manage"],
  render: () => {
    $("#audit-note").textContent = `${plural(pages.first.total ?? pages.rows.length, "record")}, ${pages.rows.length} shown.`;
    patch($("#audit-tools"), [
      searchOf("Model", chosen.model, (value) => choose("model", value)),
      searchOf("Who", chosen.actor, (value) => choose("actor", value)),
      selectOf("Outcome", chosen.outcome, [["", "any outcome"], ["ACCEPTED", "accepted"], ["REFUSED", "refused"]], (value) => choose("outcome", value)),
    ]);
    patch($("#audit-more"), moreButton(pages, () => list.redraw()));
    $("#audit-more").hidden = !pages.next;
    if (!pages.rows.length) return empty("No record", Object.values(chosen).some(Boolean) ? "Choose other filters." : "Decisions and actions appear here.");
    return table({ label: "Audit records", columns: COLUMNS, rows: pages.rows, key: pages.key, state, redraw: () => list.redraw(), fresh: (one) => pages.fresh.has(one.audit_id) });
  },
  loaded: () => live.start(),
});

function choose(name, value) {
  chosen[name] = value;
  toAddress(chosen);
  pages.clear();
  list.refresh();
}
