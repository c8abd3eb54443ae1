// The loop as a living picture: services with health and lag, and streams that move as fast as their records do.
import { h, patch } from "../lib/dom.js";
import { bytes, count, duration, percent, plural, rate, share, when } from "../lib/format.js";
import { openDrawer } from "../lib/over.js";
import * as table from "../lib/table.js";
import { NARROW, SMALL, WIDE } from "./places.js";

const SERVICES = ["ingest", "serving", "monitor", "trainer", "registry"];
const STATES = {
  ready: ["good", "ready"], not_ready: ["warn", "not ready"], down: ["bad", "down"], unknown: ["", "not asked yet"],
};
const SIGNS = { good: "✓", warn: "▲", bad: "✕", "": "•" };
const narrow = matchMedia("(max-width: 700px)");

/** Draw into `holder`, and again when the width class changes. Returns a function that takes newer facts. */
export function loop(holder, facts) {
  let now = facts;
  const draw = () => patch(holder, picture(now, narrow.matches ? NARROW : WIDE));
  narrow.addEventListener("change", () => {
    holder.replaceChildren();
    draw();
  });
  draw();
  return (newer) => {
    now = { ...now, ...newer };
    draw();
  };
}

function picture(facts, layout) {
  const edges = layout.edges.map((edge) => drawEdge(edge, facts));
  const nodes = Object.entries(layout.places).map(([name, place]) => drawNode(name, place, facts, layout));
  const viewBox = `0 0 ${layout.width} ${layout.height}`;
  return h("svg", { class: "loop", viewBox, role: "group", "aria-label": "The loop", key: layout.width }, edges, nodes);
}

function flowOf(edge, facts) {
  const flows = facts.flows.filter((flow) => flow.source === edge.source && flow.target === edge.target);
  return {
    per_s: flows.reduce((sum, flow) => sum + (flow.records_per_s ?? 0), 0),
    total: flows.reduce((sum, flow) => sum + (flow.records_total ?? 0), 0),
    topics: flows.map((flow) => `${flow.topic}: ${rate(flow.records_per_s)}, ${count(flow.records_total)} in all`),
  };
}

/** Dashes travel 24 units a turn; a turn takes from 3 s (a record now and then) down to 0.35 s (thousands a second). */
function drawEdge(edge, facts) {
  const flow = flowOf(edge, facts);
  const turn = Math.max(0.35, 3 - 0.65 * Math.log10(1 + 10 * flow.per_s));
  const name = `${edge.source} to ${edge.target}`;
  const said = flow.per_s >= 0.05 ? rate(flow.per_s) : flow.total ? count(flow.total) : "";
  return h("g", { class: ["edge", flow.per_s > 0 && "moving"], key: name },
    h("title", {}, [name, ...flow.topics].join("\n")),
    h("path", { class: "bed", d: edge.path }),
    h("path", { class: "stream", d: edge.path, vars: { "--turn": `${turn.toFixed(1)}s` } }),
    h("path", { class: "tip", d: tip(edge.path) }),
    h("text", { class: "said", x: edge.label[0], y: edge.label[1], "text-anchor": edge.start ? "start" : "middle" }, said));
}

/** An arrow head at the end of a path. */
function tip(path) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  const length = line.getTotalLength();
  const end = line.getPointAtLength(length);
  const before = line.getPointAtLength(length - 6);
  const angle = Math.atan2(end.y - before.y, end.x - before.x);
  const at = (turn, far) => `${(end.x - far * Math.cos(angle + turn)).toFixed(1)} ${(end.y - far * Math.sin(angle + turn)).toFixed(1)}`;
  return `M${at(0.45, 9)} L${end.x.toFixed(1)} ${end.y.toFixed(1)} L${at(-0.45, 9)}`;
}

function drawNode(name, [x, y], facts, layout) {
  if (!SERVICES.includes(name)) return drawOther(name, x, y, facts);
  const { width, height } = layout.node;
  const service = facts.services.find((one) => one.service === name) ?? { service: name, state: "unknown", failing: [] };
  const [kind, word] = STATES[service.state] ?? STATES.unknown;
  const left = x - width / 2 + 12;
  const top = y - height / 2;
  const does = doing(name, facts);
  const open = () => details(service, facts);
  const lag = service.lag_records === null || service.lag_records === undefined ? "" : ` · lag ${count(service.lag_records)}`;
  return h("g", {
    class: ["node", kind], key: name, role: "button", tabindex: "0", onclick: open,
    onkeydown: (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), open()),
    "aria-label": `${name}: ${word}${lag}${does ? `, ${does}` : ""}. Details`,
  },
  h("rect", { x: x - width / 2, y: top, width, height, rx: 9 }),
  h("rect", { class: "edge-mark", x: x - width / 2, y: top + 12, width: 3, height: height - 24, rx: 1.5 }),
  h("text", { class: "name", x: left, y: top + 23 }, name),
  h("text", { class: ["health", kind], x: left, y: top + 44 }, `${SIGNS[kind]} ${word}${lag}`),
  h("text", { class: ["doing", does && "busy"], x: left, y: top + 64 }, does || idle(service)));
}

const idle = (service) =>
  service.cpu_ratio === null || service.cpu_ratio === undefined ? "" : `${percent(service.cpu_ratio)} of a core`;

/** What a service is at, in a few words. */
function doing(name, facts) {
  const { models, counts } = facts;
  if (name === "serving") return serving(models);
  if (name === "trainer") {
    const busy = models.filter((model) => model.training);
    if (!busy.length) return "";
    const { training } = busy[0];
    return busy.length > 1 ? `${busy.length} models train` : `${training.stage || "run"} ${percent(training.progress_ratio)}`;
  }
  if (name === "monitor") return counts.drifts_open ? `◆ ${plural(counts.drifts_open, "open drift")}` : "";
  if (name === "registry") {
    if (counts.waiting) return `▲ ${count(counts.waiting)} ${counts.waiting === 1 ? "waits" : "wait"} for you`;
    return counts.rollouts ? plural(counts.rollouts, "rollout") : "";
  }
  return counts.dead_letters ? plural(counts.dead_letters, "dead letter") : "";
}

function serving(models) {
  const served = models.filter((model) => model.champion_version !== null);
  if (!served.length) return "";
  if (served.length > 1) return plural(served.length, "model");
  const live = served[0].shares.filter((one) => one.share > 0);
  return live.map((one) => `v${one.version} ${share(one.share)}`).join(" · ");
}

const OTHERS = {
  upstream: (facts) => plural(facts.streams.length, "stream"),
  downstream: () => "predictions",
  lake: (facts) => {
    const rows = facts.streams.reduce((sum, one) => sum + (one.last_snapshot?.rows ?? 0), 0);
    return rows ? `${count(rows)} rows` : "snapshots";
  },
  operators: (facts) => (facts.counts.alerts_open ? plural(facts.counts.alerts_open, "alert") : "no alert"),
};

function drawOther(name, x, y, facts) {
  const { width, height } = SMALL;
  return h("g", { class: "node other", key: name },
    h("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 22 }),
    h("text", { class: "name", x, y: y - 2, "text-anchor": "middle" }, name),
    h("text", { class: "doing", x, y: y + 13, "text-anchor": "middle" }, OTHERS[name](facts)));
}

function details(service, facts) {
  const [kind, word] = STATES[service.state] ?? STATES.unknown;
  const rows = [
    ["State", h("span", { class: ["badge", kind] }, word)],
    ["Since", when(service.since_ms)],
    ["Runs for", duration(service.uptime_s)],
    ["Lag", service.lag_records === null ? null : plural(service.lag_records ?? 0, "record")],
    ["Behind open transactions", service.hidden_records ? plural(service.hidden_records, "record") : null],
    ["Reads", rate(service.records_in_per_s)],
    ["Writes", rate(service.records_out_per_s)],
    ["CPU", service.cpu_ratio === null ? null : `${percent(service.cpu_ratio)} of a core`],
    ["Memory", bytes(service.memory_bytes)],
    ["Restarts", count(service.restarts)],
    ["Asked", when(service.seen_at_ms)],
    ["Address", service.url && h("code", {}, service.url)],
  ];
  const flows = facts.flows.filter((flow) => [flow.source, flow.target].includes(service.service));
  openDrawer({
    title: service.service,
    body: [
      service.failing?.length
        ? h("section", {}, h("h3", {}, "Why it is not ready"),
          h("ul", { class: "plain-list" }, service.failing.map((one) =>
            h("li", {}, h("strong", {}, one.check), `: ${one.why}`))))
        : null,
      h("section", {}, h("h3", {}, "Process"), table.facts(rows)),
      flows.length ? h("section", {}, h("h3", {}, "Topics"), topics(flows)) : null,
    ],
  });
}

function topics(flows) {
  return table.plain("Topics", ["Topic", "From", "To", "Rate#", "In all#"], flows.map((flow) => ({
    key: `${flow.topic} ${flow.source} ${flow.target}`,
    cells: [h("code", {}, flow.topic), flow.source, flow.target, rate(flow.records_per_s), count(flow.records_total)],
  })));
}
