// What a mark of the timeline opens: the run, the deployment, the version, with links to the pages that say more.
import { ApiError, get, part } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { eventTime, figure, shortId, when, words } from "../lib/format.js";
import { facts } from "../lib/table.js";
import { empty } from "../lib/view.js";
import { cardLink, runLink } from "./evidence.js";
import { metricText, shares } from "./models.js";
import { reportLink, runBadge, verdict } from "./run.js";

/** The drawer's content for a mark of `model`; `facts` are the model's own. */
export async function markDrawer(model, mark, facts) {
  try {
    return [...(await own(model, mark, facts)), times(mark)];
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [h("p", {}, mark.text), empty("The rest could not be loaded", error.message), times(mark)];
  }
}

async function own(model, mark, facts) {
  if (mark.kind === "run") return aRun(await get(`/api/models/${part(model)}/runs/${part(mark.id)}`));
  if (mark.kind === "deployment") return aDeployment(mark, await deployment(model, mark, facts));
  return [h("section", {}, h("p", {}, mark.text),
    mark.version ? h("p", {}, h("a", { href: cardLink(model, mark.version) }, `Model card of version ${mark.version}`)) : null,
    mark.href && mark.href !== location.pathname ? h("p", {}, h("a", { href: mark.href }, "More about it")) : null)];
}

async function deployment(model, mark, facts) {
  const near = facts.recent_deployments.find((one) => one.deployment_id === mark.id);
  if (near) return near;
  const page = await get(`/api/models/${part(model)}/deployments`, { limit: 500 });
  return page.deployments.find((one) => one.deployment_id === mark.id);
}

function aDeployment(mark, found) {
  if (!found) return [h("p", {}, mark.text)];
  return [h("section", {}, facts([["What", words(found.kind)], ["Traffic", shares(found.traffic)], ["Why", found.reason],
    ["Decided by", found.decided_by], ["Strategy", words(found.strategy)], ["Epoch", found.epoch],
    ["Caused by", shortId(found.caused_by, 24)]]))];
}

function aRun(run) {
  const failed = (run.checks ?? []).filter((one) => !one.passed);
  const said = failed.map((one) => `${one.name} (${figure(one.value)}, limit ${figure(one.limit)})`);
  const metric = (name) => {
    const beside = run.champion_metrics?.[name];
    return [words(name), [metricText(name, run.metrics[name]), beside === undefined ? "" : `, the champion ${metricText(name, beside)}`]];
  };
  return [h("section", {},
    h("p", { class: "row" }, runBadge(run.status), verdict(run)),
    h("p", {}, run.because),
    run.error ? h("p", { class: "answer bad" }, run.error) : null,
    facts([...Object.keys(run.metrics ?? {}).slice(0, 6).map(metric), ["Checks", said.length ? `failed: ${said.join("; ")}` : "all passed"]]),
    h("p", { class: "row" }, h("a", { class: "button", href: runLink(run.model, run.run_id) }, "The whole run"),
      run.version ? h("a", { class: "button", href: cardLink(run.model, run.version) }, "Model card") : null,
      run.snapshot_id ? reportLink(run, true) : null))];
}

function times(mark) {
  const near = mark.time_from === "nearest_metric" ? " (the newest that had been measured by then)" : "";
  return h("section", {}, h("h3", {}, "When"), facts([["Wall time", when(mark.wall_ms)],
    ["Event time", mark.event_ms && [eventTime(mark.event_ms), near]], ["Id", shortId(mark.id, 28)]]));
}
