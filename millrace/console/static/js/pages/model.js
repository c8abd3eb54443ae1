// A model: its timeline, why its champion answers, what moved, its versions, and what may be done.
import { act } from "../lib/action.js";
import { ApiError, get, part } from "../lib/api.js";
import { unzoom } from "../lib/chart.js";
import { $, h, patch } from "../lib/dom.js";
import { live } from "../lib/live.js";
import { openDrawer } from "../lib/over.js";
import { announce, shell, toast } from "../lib/shell.js";
import { bones, view } from "../lib/view.js";
import { words } from "../lib/format.js";
import { drawEvidence, driftLink, evidence } from "../parts/evidence.js";
import { deployments, modelHead, runLines, waitingLines } from "../parts/model_parts.js";
import { markDrawer } from "../parts/mark_drawer.js";
import { moved, movedData } from "../parts/moved.js";
import { timeline } from "../parts/timeline.js";
import { comparison, versions } from "../parts/versions.js";
import { turns, why } from "../parts/why.js";

const name = document.body.dataset.model;
const base = `/api/models/${part(name)}`;
const mine = (event) => !event.model || event.model === name;
const FACTS = ["run", "version", "deployment", "serving", "drift", "request", "manage", "quality", "alert", "alert_action"];
const shown = { axis: "event", metric: null, slice: "", turn: null };
const picked = new Set();
const order = {};
let listed = [];

await shell();
$("#runs-link").href = `/models/${part(name)}/runs`;
$("#audit-link").href = `/audit?model=${part(name)}`;

const facts = view($("#head"), {
  load: () => get(base),
  kinds: FACTS,
  only: mine,
  render: (model) => {
    patch($("#waiting"), waitingLines(model, facts.refresh));
    patch($("#runs"), runLines(model.recent_runs));
    patch($("#deployments"), deployments(model.recent_deployments));
    reason.redraw();
    showVersions();
    return modelHead(model, facts.refresh);
  },
  loaded: (model) => {
    listed = merged(model.recent_versions);
    showVersions();
    live.start();
  },
});

const reason = view($("#why"), {
  load: loadWhy,
  kinds: ["deployment", "version"],
  only: mine,
  render: (found) => {
    patch($("#why-tools"), turnPicker(found));
    return facts.data ? why(facts.data, { ...found, show: showDrift }) : bones();
  },
});

view($("#moved"), {
  load: async () => movedData(name, (await get(`${base}/drifts`, { limit: 100 })).drifts),
  kinds: ["drift"],
  only: mine,
  render: (rows) => moved(rows, (drift) => showDrift(drift.drift_id)),
});

const line = view($("#timeline"), {
  load: () => get(`${base}/timeline`, { axis: shown.axis, metric: shown.metric, slice: shown.slice }),
  kinds: ["metrics", "run", "deployment", "drift", "request", "version", "quality", "alert"],
  only: mine,
  render: (data, own) => {
    tools(data);
    timeline(own.holder, data, choose);
  },
});

/** The champion, or an earlier one that was chosen: what led to it, with the drift behind it. */
async function loadWhy() {
  const all = turns((await get(`${base}/deployments`, { limit: 500 })).deployments);
  const turn = all.find((one) => one.at_ms === shown.turn) ?? all[0];
  const history = await get(`${base}/history`, turn && turn !== all[0] ? { at: turn.at_ms } : {}).catch(silent);
  const id = history?.served?.chain.find((one) => one.id?.startsWith("drift/"))?.id;
  return { all, turn, history, drift: id ? await get(`${base}/drifts/${part(id)}`).catch(silent) : null };
}

function turnPicker({ all, turn }) {
  if (all.length < 2) return [];
  const text = (one, at) => `version ${one.version}${one.before ? ` after ${one.before}` : ""}${at ? "" : " (now)"}`;
  return h("label", { key: `turns ${all[0].at_ms}` }, h("span", { class: "sr" }, "Which change"), h("select", {
    id: "why-turn",
    onchange: (event) => {
      shown.turn = event.target.selectedIndex ? Number(event.target.value) : null;
      reason.refresh();
    },
  }, all.map((one, at) => h("option", { value: one.at_ms, selected: one === turn }, text(one, at)))));
}

function silent(error) {
  if (error instanceof ApiError) return null;
  throw error;
}

function merged(newest) {
  const now = new Set(newest.map((one) => one.version));
  return [...newest, ...listed.filter((one) => !now.has(one.version))];
}

function showVersions() {
  const model = facts?.data;
  if (!model) return;
  const metric = model.quality?.metric ?? Object.keys(listed[0]?.metrics ?? {})[0] ?? "accuracy";
  patch($("#versions"), versions({ model: name, list: listed, metric, picked, actions: model.actions, state: order, redraw: again, done: facts.refresh }));
}

function again(changed) {
  showVersions();
  if (changed) compare();
}

async function compare() {
  if (picked.size !== 2) {
    patch($("#compare"), []);
    return;
  }
  const [a, b] = [...picked].sort((one, other) => one - other);
  patch($("#compare"), comparison(await get(`${base}/versions/compare`, { a, b })));
  announce(`Version ${a} beside version ${b}`);
}

function tools(data) {
  const choice = (label, key, values, text = (one) => one) => values.length < 2 ? null
    : h("label", {}, h("span", { class: "sr" }, label), h("select", {
      onchange: (event) => {
        shown[key] = event.target.value;
        line.refresh();
      },
    }, values.map((one) => h("option", { value: one, selected: one === (shown[key] ?? data[key]) }, text(one)))));
  const side = (value, text) => h("button", {
    type: "button", "aria-pressed": String(shown.axis === value), onclick: () => {
      shown.axis = value;
      line.refresh();
    },
  }, text);
  patch($("#timeline-tools"),
    choice("Metric", "metric", data.metrics ?? [], words),
    choice("Part of the rows", "slice", data.slices ?? [], (one) => one || "all rows"),
    h("div", { class: "switch", role: "group", "aria-label": "Axis of time" }, side("event", "Event time"), side("wall", "Wall time")),
    h("button", { type: "button", class: "small quiet", onclick: () => $("#timeline-chart") && unzoom($("#timeline-chart")) }, "Whole range"));
}

async function choose(mark) {
  if (mark.kind === "drift") return showDrift(mark.id);
  openDrawer({ title: mark.title, body: await markDrawer(name, mark, facts.data) });
}

async function showDrift(id) {
  try {
    const drift = await get(`${base}/drifts/${part(id)}`);
    const drawer = openDrawer({
      title: `Drift of ${drift.subject.replace(/^feature:/, "")}`, note: h("a", { href: driftLink(name, id) }, "A page of its own"), body: evidence(drift),
    });
    await drawEvidence(drawer, drift);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
}

document.addEventListener("click", (event) => {
  const verb = event.target.closest("[data-verb]")?.dataset.verb;
  const action = verb && facts.data?.actions.find((one) => one.verb === verb);
  if (action) act({ verb, model: name, versions: verb === "rollback" ? action.versions : [], done: facts.refresh });
});

live.on(["drift", "deployment"], (event) => event.model === name && announce(event.summary));
