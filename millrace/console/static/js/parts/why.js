// Why the champion serves: one sentence, then the chain of causes from the first to the last, each with its record.
import { h } from "../lib/dom.js";
import { figure, sentence, when, words } from "../lib/format.js";
import { empty } from "../lib/view.js";
import { cardLink, driftLink, furthest, runLink } from "./evidence.js";
import { subject } from "./models.js";

const SIGNS = {
  drift: "◆", "drift event": "◆", request: "↻", "retrain request": "↻", 
  "training run": "■", run: "■", version: "●", deployment: "▲", measurement: "≈", approval: "✓", trigger: "•", snapshot: "▤",
};
const SHORT = {
  drift: "drift", "drift event": "drift", request: "approval", "retrain request": "request", 
  "training run": "run", run: "run", version: "checks", measurement: "canary", snapshot: "data", approval: "approval",
};

const MOST = 5;

/** Every time at which another version became champion, the newest first: `{version, before, at_ms, reason}`. */
export function turns(deployments) {
  const lived = deployments.toReversed().flatMap((one) => {
    const part = one.traffic.find((other) => other.variant === "champion");
    return part ? [{ version: part.version, at_ms: one.decided_at_ms, reason: one.reason }] : [];
  });
  return lived.map((one, at) => ({ ...one, before: lived[at - 1]?.version ?? null })).filter((one) => one.version !== one.before).toReversed();
}

/** `history`: the registry's answer, newest cause first, or null where it does not answer; `turn` of `turns`. */
export function why(model, { history, drift, turn, show }) {
  const chain = (history?.served?.chain ?? []).toReversed();
  if (model.champion_version === null) {
    return empty("Nothing answers yet", "The first version is deployed as soon as a run passes its checks.");
  }
  return [
    h("p", { class: "lead", key: "lead" }, h("strong", {}, `Version ${turn?.version ?? model.champion_version}`),
      turn?.before ? ` replaced version ${turn.before} ` : " became champion ", when(turn?.at_ms ?? model.champion_since_ms), ". ", because(chain, turn?.reason ?? model.why),
      chain.length > 1 ? ` In short: ${short(chain)}.` : ""),
    chain.length
      ? h("ol", { class: "chain", key: "chain" }, chain.map((one) => h("li", { key: `${one.kind} ${one.id}`, "data-sign": SIGNS[one.kind] ?? "•" },
        h("div", {}, h("span", { class: "kind" }, link(model.model, one)), " ", h("small", { class: "soft" }, when(one.at_ms ?? (one.id === drift?.drift_id ? drift.detected_at_ms : null)))),
        h("div", { class: "small" }, told(one, drift)), one.id === drift?.drift_id ? features(drift, show) : null)))
      : versionsOnly(model),
  ];
}

/** The cause, the checks and the canary in sentences; where a person asked, their word. */
function because(chain, reason) {
  const asked = chain.find((one) => one.kind === "request");
  const cause = chain.find((one) => one.kind === "retrain request");
  const checks = chain.find((one) => one.kind === "version" && one.what.includes("REGISTERED: "));
  const rest = [cause && `Cause: ${cause.what.replace(/^[A-Z_]+ by \w+: /, "")}`, checks && `Checks: ${checks.what.split("REGISTERED: ")[1]}`, reason && `Decision: ${reason}`];
  const said = asked ? [asked.what.replace(/^[A-Z_]+/, words)] : cause ? rest : [reason];
  return said.filter(Boolean).map((one) => `${sentence(one.replace(/\.$/, ""))}.`).join(" ");
}

function told(one, drift) {
  if (one.id === drift?.drift_id) return drift.message;
  return /^[A-Z_]+$/.test(one.what) ? words(one.what) : one.what || one.id;
}

/** Which features had moved when the drift was found, the farthest first. */
function features(drift, show) {
  const found = furthest(drift.rests_on ?? []).filter((one) => one.subject.startsWith("feature:"));
  if (!found.length) return null;
  return h("div", { class: "small", "data-features": "" }, "Features that moved most: ", found.slice(0, MOST).flatMap((one, at) => [at ? ", " : "",
    h("button", { type: "button", class: "link", onclick: () => show(one.drift_id) }, subject(one.subject)), ` ${figure(one.before)} → ${figure(one.after)}`]),
  found.length > MOST ? `, and ${found.length - MOST} more` : "");
}

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
