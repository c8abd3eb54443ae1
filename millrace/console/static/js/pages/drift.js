// The evidence of one drift, as a page that can be sent to somebody.
import { get, part } from "../lib/api.js";
import { $, h } from "../lib/dom.js";
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";
import { view } from "../lib/view.js";
import { drawEvidence, evidence } from "../parts/evidence.js";

const { model, id } = document.body.dataset;

await shell();
const holder = $("#drift");
view(holder, {
  load: () => get(`/api/models/${part(model)}/drifts/${part(id)}`),
  kinds: ["run", "deployment", "version"],
  only: (event) => event.model === model,
  render: (drift) => h("div", { class: "body sections" }, evidence(drift)),
  loaded: (drift) => {
    drawEvidence(holder, drift);
    live.start();
  },
});
