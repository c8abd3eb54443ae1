// One training run, live while it runs.
import { get, part } from "../lib/api.js";
import { $ } from "../lib/dom.js";
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";
import { view } from "../lib/view.js";
import { drawLosses, run } from "../parts/run.js";

const { model, id } = document.body.dataset;

await shell();
const holder = $("#run");
view(holder, {
  load: () => get(`/api/models/${part(model)}/runs/${part(id)}`),
  kinds: ["run", "version"],
  only: (event) => !event.model || event.model === model,
  render: (found) => run(found),
  loaded: (found) => {
    drawLosses(holder, found);
    live.start();
  },
});
holder.className = "stack";
