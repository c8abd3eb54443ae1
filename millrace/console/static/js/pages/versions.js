// Every version of a model, two of them side by side, and the runs that became none.
import { get, part } from "../lib/api.js";
import { $, h, patch } from "../lib/dom.js";
import { figure, when, words } from "../lib/format.js";
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";
import { empty, view } from "../lib/view.js";
import { runLink } from "../parts/evidence.js";
import { fromAddress, toAddress } from "../parts/filters.js";
import { comparison, versions } from "../parts/versions.js";

const model = document.body.dataset.model;
const base = `/api/models/${part(model)}`;
const asked = fromAddress(["a", "b"]);
const picked = new Set([asked.a, asked.b].filter(Boolean).map(Number));
const state = {};

await shell();
const list = view($("#versions"), {
  load: async () => {
    const [page, facts] = await Promise.all([get(`${base}/versions`, { limit: 500 }), get(base)]);
    return { ...page, facts };
  },
  kinds: ["version", "deployment", "manage"],
  only: (event) => !event.model || event.model === model,
  render: ({ versions: found, rejected, facts }) => {
    patch($("#rejected"), refused(rejected));
    const metric = facts.quality?.metric ?? Object.keys(found[0]?.metrics ?? {})[0] ?? "accuracy";
    return versions({ model, list: found, metric, picked, actions: facts.actions, state, redraw: again, done: () => list.refresh() });
  },
  loaded: () => live.start(),
});
compare();

function again(changed) {
  list.redraw();
  if (changed) compare();
}

async function compare() {
  const [a, b] = [...picked].sort((one, other) => one - other);
  toAddress({ a, b });
  patch($("#compare"), picked.size === 2 ? comparison(await get(`${base}/versions/compare`, { a, b })) : []);
}

function refused(runs) {
  if (!runs.length) return empty("None", "Every run that ended well became a version.");
  return h("ul", { class: "list" }, runs.map((one) => h("li", { key: one.run_id },
    h("div", {}, h("a", { href: runLink(model, one.run_id) }, "run"), ` ${one.reasons.join("; ")}`),
    h("small", { class: "soft" }, Object.entries(one.metrics).slice(0, 3).map(([name, value]) => `${words(name)} ${figure(value)}`).join(", "), " · ", when(one.decided_at_ms)))));
}
