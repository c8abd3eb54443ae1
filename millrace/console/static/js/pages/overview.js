// The overview: the loop as it runs, the models, what needs somebody, what just happened.
import { get } from "../lib/api.js";
import { $, h, patch } from "../lib/dom.js";
import { count, plural, when } from "../lib/format.js";
import { live } from "../lib/live.js";
import { announce, badges, shell } from "../lib/shell.js";
import { empty, view } from "../lib/view.js";
import { act } from "../lib/action.js";
import { Happened, TOLD, happened } from "../parts/happened.js";
import { loop } from "../parts/loop.js";
import { modelLink, models } from "../parts/models.js";

const table = {};
const feed = new Happened();
const loud = new Set(["drift", "deployment", "alert"]); // read out to those who listen
let picture = null;

await shell();
const overview = view($("#models"), {
  load: () => get("/api/overview"),
  kinds: ["run", "version", "deployment", "drift", "request", "manage", "alert", "alert_action", "quality", "snapshot"],
  render: (data) => {
    rest(data);
    return models(data.models, table, redraw);
  },
  loaded: (data) => live.start(data.cursor),
});
view($("#alerts"), { load: () => get("/api/alerts", { state: "open", limit: 6 }), kinds: ["alert", "alert_action"], render: alerts });

function redraw() {
  overview.redraw();
}

function rest(data) {
  if (picture) picture(data);
  else picture = loop($("#loop"), data);
  badges(data.counts);
  $("#headline").textContent = headline(data);
  $("#models-note").textContent = `${count(data.counts.models_serving)} of ${count(data.counts.models)} answer.`;
  patch($("#waiting"), data.waiting.map(waiting));
  patch($("#latest"), happened(feed.rows(data.models)));
}

function headline({ counts, catching_up: behind, services }) {
  if (behind) return `The console still reads the log: ${behind}.`;
  const ill = services.filter((one) => one.state === "down" || one.state === "not_ready");
  const parts = [ill.length ? `${ill.map((one) => one.service).join(", ")} not ready` : "All services are ready"];
  parts.push(counts.training ? `${plural(counts.training, "model")} in training` : "nothing trains");
  if (counts.rollouts) parts.push(plural(counts.rollouts, "rollout"));
  if (counts.drifts_open) parts.push(plural(counts.drifts_open, "open drift"));
  parts.push(counts.alerts_open ? plural(counts.alerts_open, "open alert") : "no open alert");
  return `${parts.join(", ")}.`;
}

function waiting(one) {
  const approve = one.kind === "approval" && one.version !== null;
  return h("div", { class: "waiting", key: `${one.kind} ${one.model} ${one.version}` },
    h("div", {}, h("span", { class: "badge warn" }, one.kind), " ", h("a", { href: modelLink(one.model) }, one.model), ` ${one.words} `,
      h("small", { class: "soft" }, when(one.since_ms))),
    approve && h("div", { class: "row" },
      h("button", { type: "button", class: "small", onclick: () => act({ verb: "reject", ...one, done: overview.refresh }) }, "Reject"),
      h("button", { type: "button", class: "small main", onclick: () => act({ verb: "approve", ...one, done: overview.refresh }) }, "Approve")));
}

function alerts(data) {
  if (!data.groups.length) return empty("No open alert", "What needs an operator appears here at once.");
  return h("ul", { class: "list" }, data.groups.map((one) => h("li", { key: one.key },
    h("div", {}, h("span", { class: ["badge", one.severity === "CRITICAL" ? "bad" : "warn"] }, one.severity.toLowerCase()), " ",
      h("a", { href: one.href ?? "/alerts" }, one.reason), ` ${one.subject}`),
    h("small", { class: "soft" }, one.message, " · ", one.service, one.count > 1 ? ` · ${count(one.count)} times` : "", " · ", when(one.last_at_ms)))));
}

$("#models-search").addEventListener("input", (event) => {
  table.word = event.target.value.trim();
  table.shown = undefined;
  redraw();
});

live.on("tick", ({ services, streams, flows, counts }) => {
  if (!overview.data) return;
  Object.assign(overview.data, { services, streams, flows, counts });
  picture(overview.data);
  $("#headline").textContent = headline(overview.data);
});
live.on(TOLD, (event) => {
  feed.take(event);
  if (overview.data) patch($("#latest"), happened(feed.rows(overview.data.models)));
  if (loud.has(event.kind)) announce(`${event.model ?? ""} ${event.summary}`);
});
