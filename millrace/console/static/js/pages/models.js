// All models, read page by page and shown as one table that sorts and searches.
import { get } from "../lib/api.js";
import { $ } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";
import { view } from "../lib/view.js";
import { models } from "../parts/models.js";

const table = {};
const MOST = 2000;

await shell();
const list = view($("#models"), {
  load: all,
  kinds: ["run", "version", "deployment", "drift", "manage", "alert", "alert_action"],
  render: (data) => {
    $("#models-note").textContent = `${plural(data.total, "model")}.`;
    return models(data.models, table, () => list.redraw());
  },
  loaded: () => live.start(),
});

async function all() {
  let page = await get("/api/models", { limit: 500 });
  const found = [...page.models];
  while (page.next && found.length < MOST) {
    page = await get("/api/models", { limit: 500, cursor: page.next });
    found.push(...page.models);
  }
  return { models: found, total: page.total };
}

$("#models-search").addEventListener("input", (event) => {
  table.word = event.target.value.trim();
  table.shown = undefined;
  list.redraw();
});
