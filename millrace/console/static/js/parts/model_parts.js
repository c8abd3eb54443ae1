// The parts of a model's page that are no pictures: its head with figures and actions, its newest runs and deployments.
import { h } from "../lib/dom.js";
import { act, verbName } from "../lib/action.js";
import { count, when, words } from "../lib/format.js";
import { empty } from "../lib/view.js";
import { runLink } from "./evidence.js";
import { metricText, shares, stateBadge, training } from "./models.js";
import { figureOf, runBadge, verdict } from "./run.js";

const ALWAYS = ["rollback", "retrain"]; // shown even where they cannot be asked for, with the reason
const SOMETIMES = ["abort", "freeze", "unfreeze", "kill"];

export function modelHead(model) {
  return h("div", { class: "card" }, h("div", { class: "body" },
    h("div", { class: "head" },
      h("div", { class: "head-main" },
        h("p", { class: "crumb" }, h("a", { href: "/models" }, "Models"), model.stream ? ` · stream ${model.stream}` : ""),
        h("div", { class: "row" }, h("h1", { tabindex: "-1" }, model.model), stateBadge(model.state),
          model.training ? h("a", { href: runLink(model.model, model.training.run_id) }, training(model.training)) : null,
          model.open_request ? h("span", { class: "badge busy", title: model.open_request.message }, "retrain asked for") : null)),
      h("div", { class: "row" }, verbs(model))),
    h("dl", { class: "figures" }, figures(model)),
    model.frozen ? h("p", { class: "small" }, `Frozen by ${model.frozen.by} `, when(model.frozen.since_ms), `: ${model.frozen.reason}. Nothing happens by itself.`) : null,
    model.rollout ? h("p", { class: "small" }, h("span", { class: "badge busy" }, "rollout"), ` ${model.rollout.words}, since `, when(model.rollout.began_at_ms)) : null));
}

function figures(model) {
  const { quality, estimate } = model;
  return [
    figureOf("Champion", model.champion_version === null ? "none" : `version ${model.champion_version}`, when(model.champion_since_ms)),
    quality ? figureOf(`${words(quality.metric)}, labelled`, metricText(quality.metric, quality.value), interval(quality)) : figureOf("Quality", "–", "no labels yet"),
    estimate ? figureOf(`${words(estimate.metric)}, estimated`, metricText(estimate.metric, estimate.value), "before labels come") : null,
    figureOf("Traffic", shares(model.shares)),
    figureOf("Versions", count(model.versions), `${count(model.runs)} runs`),
    figureOf("Data", data(model), model.data_reports?.length ? h("a", { href: model.data_reports[0].url, target: "_blank", rel: "noopener" }, "data report") : null),
  ].filter(Boolean);
}

const interval = (found) => (found.low === null || found.low === undefined ? `${count(found.rows)} rows`
  : `${metricText(found.metric, found.low)} to ${metricText(found.metric, found.high)}, ${count(found.rows)} rows`);

const data = (model) => (model.data_reports?.length ? `${count(model.data_reports[0].rows)} rows` : "–");

function verbs(model) {
  const found = new Map(model.actions.map((one) => [one.verb, one]));
  const button = (verb, always) => {
    const action = found.get(verb);
    if (!action || (!action.possible && !always)) return null;
    return h("button", { type: "button", key: verb, "data-verb": verb, disabled: !action.possible, title: action.why_not }, verbName(verb));
  };
  return [...ALWAYS.map((verb) => button(verb, true)), ...SOMETIMES.map((verb) => button(verb, false))];
}

export function waitingLines(model, done) {
  return (model.waiting ?? []).map((one) => h("div", { class: "waiting", key: `${one.kind} ${one.version}` },
    h("div", {}, h("span", { class: "badge warn" }, one.kind), ` ${one.words} `, h("small", { class: "soft" }, when(one.since_ms))),
    one.kind === "approval" ? h("div", { class: "row" },
      h("button", { type: "button", class: "small", onclick: () => act({ verb: "reject", model: model.model, version: one.version, space: one.space, done }) }, "Reject"),
      h("button", { type: "button", class: "small main", onclick: () => act({ verb: "approve", model: model.model, version: one.version, space: one.space, done }) }, "Approve")) : null));
}

export function runLines(runs) {
  if (!runs?.length) return empty("No run yet", "The first begins when there are enough labelled rows.");
  return h("ul", { class: "list" }, runs.slice(0, 8).map((one) => h("li", { key: one.run_id },
    h("div", { class: "row" }, runBadge(one.status), h("a", { href: runLink(one.model, one.run_id) }, words(one.trigger)), verdict(one)),
    h("small", { class: "soft" }, one.because, " · ", when(one.changed_at_ms)))));
}

export function deployments(list) {
  if (!list?.length) return empty("Nothing deployed yet");
  return h("ul", { class: "list" }, list.slice(0, 8).map((one) => h("li", { key: one.epoch },
    h("div", { class: "row" }, h("strong", {}, words(one.kind)), h("span", { class: "tag" }, `epoch ${one.epoch}`), shares(one.traffic)),
    h("small", { class: "soft" }, one.reason, " · ", one.decided_by, " · ", when(one.decided_at_ms)))));
}
