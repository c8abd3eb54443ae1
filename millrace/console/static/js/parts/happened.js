// What just happened, newest first: the events of the stream, and before them what the models last told.
import { h } from "../lib/dom.js";
import { when } from "../lib/format.js";
import { empty } from "../lib/view.js";
import { modelLink, subject } from "./models.js";

const KEPT = 9;
const QUIET = new Set(["tick", "services", "metrics", "evidence", "serving"]); // many, and nothing that a person must know at once
export const TOLD = ["run", "version", "deployment", "drift", "request", "manage", "audit", "alert", "alert_action", "quality", "snapshot"];
const SIGNS = {
  drift: ["◆", "odd"], alert: ["▲", "warn"], alert_action: ["✓", "good"], run: ["◔", "busy"], version: ["●", "busy"], deployment: ["✓", "good"],
  request: ["↻", "busy"], quality: ["▲", "warn"], audit: ["•", ""], manage: ["•", ""], snapshot: ["▤", ""],
};

export class Happened {
  constructor() {
    this.events = [];
  }

  take(event) {
    if (QUIET.has(event.kind)) return;
    this.events = [event, ...this.events.filter((one) => one.id !== event.id || one.kind !== event.kind)].slice(0, KEPT);
  }

  /** With what the models tell, for the time before the page was opened. */
  rows(models) {
    const known = new Set(this.events.map((one) => one.id));
    const before = models.flatMap(told).filter((one) => one.at_ms && !known.has(one.id));
    return [...this.events, ...before.sort((a, b) => b.at_ms - a.at_ms)].slice(0, KEPT);
  }
}

function told(model) {
  const { last_drift: drift, last_run: run } = model;
  return [
    drift && { kind: "drift", id: drift.drift_id, model: model.model, at_ms: drift.detected_at_ms, summary: drift.message || `drift of ${subject(drift.subject)}` },
    run && { kind: "run", id: run.run_id, model: model.model, at_ms: run.changed_at_ms, summary: `run ${run.status.toLowerCase()}` },
    model.champion_version !== null && {
      kind: "deployment", id: `epoch ${model.epoch}`, model: model.model, at_ms: model.champion_since_ms,
      summary: `version ${model.champion_version} became champion`,
    },
  ].filter(Boolean);
}

export function happened(rows) {
  if (!rows.length) return empty("Nothing yet", "Drifts, runs, deployments and alerts appear here as they happen.");
  return h("ul", { class: "list" }, rows.map((one) => {
    const [sign, kind] = SIGNS[one.kind] ?? ["•", ""];
    return h("li", { key: `${one.kind} ${one.id}`, class: "one-line" },
      h("div", {}, h("span", { class: ["sign", kind], "aria-hidden": "true" }, sign), " ",
        one.model ? h("a", { href: one.href ?? modelLink(one.model) }, one.model) : null, one.model ? " " : null, one.summary),
      h("small", { class: "soft" }, when(one.at_ms)));
  }));
}
