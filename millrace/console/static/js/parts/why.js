// Why the champion serves: one sentence, then the chain of causes from the first to the last, each with its record.
import { h } from "../lib/dom.js";
import { sentence, when, words } from "../lib/format.js";
import { empty } from "../lib/view.js";
import { cardLink, driftLink, runLink } from "./evidence.js";

const SIGNS = {
  drift: "◆", "drift event": "◆", request: "↻", "retrain request": "↻", 
  "training run": "■", run: "■", version: "●", deployment: "▲", measurement: "≈", approval: "✓", trigger: "•", snapshot: "▤",
};
const SHORT = {
  drift: "drift", "drift event": "drift", request: "approval", "retrain request": "request", 
  "training run": "run", run: "run", version: "checks", measurement: "canary", snapshot: "data", approval: "approval",
};

/** `history`: the registry's answer, newest cause first, or null where it does not answer. */
export function why(model, history) {
  const chain = (history?.served?.chain ?? []).toReversed();
  if (model.champion_version === null) {
    return empty("Nothing answers yet", "The first version is deployed as soon as a run passes its checks.");
  }
  return [
    h("p", { class: "lead", key: "lead" }, h("strong", {}, `Version ${model.champion_version}`), " became champion ", when(model.champion_since_ms),
      model.why ? `, because ${lower(model.why)}.` : ".", chain.length > 1 ? ` In short: ${short(chain)}.` : ""),
    chain.length
      ? h("ol", { class: "chain", key: "chain" }, chain.map((one, at) => h("li", { key: `${one.kind} ${one.id}`, "data-sign": SIGNS[one.kind] ?? at + 1 },
        h("div", {}, h("span", { class: "kind" }, link(model.model, one)), " ", h("small", { class: "soft" }, when(one.at_ms))),
        h("div", { class: "small" }, /^[A-Z_]+$/.test(one.what) ? words(one.what) : one.what || one.id))))
      : versionsOnly(model),
  ];
}

const lower = (text) => text.replace(/\.$/, "").replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());

/** drift → request → run → checks → canary → champion, each step once. */
function short(chain) {
  const steps = chain.map((one) => SHORT[one.kind] ?? (one.kind === "deployment" ? (/ROLLOUT|ADVANCED/.test(one.what) ? "canary" : null) : one.kind)).filter(Boolean);
  return [...new Set([...steps, "champion"])].join(" → ");
}

function link(model, one) {
  const name = sentence(one.kind);
  if (one.id?.startsWith("drift/")) return h("a", { href: driftLink(model, one.id) }, name);
  if (one.kind === "training run" || one.kind === "run") return h("a", { href: runLink(model, one.id) }, name);
  const version = one.kind === "version" ? /version (\d+)/.exec(one.what) : null;
  return version ? h("a", { href: cardLink(model, version[1]) }, name) : name;
}

/** What is known without the registry. */
function versionsOnly(model) {
  const version = model.recent_versions?.find((one) => one.version === model.champion_version);
  const steps = [version?.because && ["Cause", version.because], version && ["Checks", version.reasons.join("; ")], model.why && ["Deployment", model.why]].filter(Boolean);
  return h("ol", { class: "chain", key: "chain" }, steps.map(([kind, text], at) => h("li", { key: kind, "data-sign": at + 1 },
    h("div", {}, h("span", { class: "kind" }, kind)), h("div", { class: "small" }, text))));
}
