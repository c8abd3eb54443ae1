// Alerts: those of one cause together; acknowledge says that somebody looks, silence says until when nobody is called.
import { ask } from "../lib/action.js";
import { get } from "../lib/api.js";
import { $, h, patch } from "../lib/dom.js";
import { count, plural, stamp, when, words } from "../lib/format.js";
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";
import { empty, view } from "../lib/view.js";
import { fromAddress, toAddress } from "../parts/filters.js";
import { modelLink } from "../parts/models.js";

const chosen = { state: "open", ...Object.fromEntries(Object.entries(fromAddress(["state", "model", "service"])).filter(([, value]) => value)) };
const STATES = ["open", "acknowledged", "silenced", "over", "all"];
const FOR = [[3600, "one hour"], [14_400, "4 hours"], [86_400, "a day"], [604_800, "a week"]];
const open = new Set(); // groups whose single alerts are shown

await shell();
const list = view($("#alerts"), {
  load: () => get("/api/alerts", { ...chosen, limit: 200 }),
  kinds: ["alert", "alert_action"],
  render: (data) => {
    patch($("#alerts-tools"), switches(data.counts));
    patch($("#silences"), silences(data.silences));
    $("#alerts-note").textContent = data.counts.critical ? `${count(data.counts.critical)} critical: users are affected now.` : "None is critical.";
    if (!data.groups.length) return nothing();
    return h("ul", { class: "list" }, data.groups.map(group));
  },
  loaded: () => live.start(),
});

const nothing = () => empty(chosen.state === "open" ? "No open alert" : `None ${chosen.state === "all" ? "yet" : chosen.state}`, "What needs an operator appears here at once.");

function switches(counts) {
  return h("div", { class: "filters", role: "group", "aria-label": "State" }, STATES.map((state) => h("button", {
    type: "button", key: state, "aria-pressed": String(chosen.state === state), onclick: () => {
      chosen.state = state;
      toAddress(chosen);
      list.refresh();
    },
  }, state, counts[state] === undefined ? null : h("b", {}, count(counts[state])))));
}

function group(one) {
  const done = () => list.refresh();
  return h("li", { key: one.key },
    h("div", { class: "split" },
      h("div", { class: "row" }, h("span", { class: ["badge", one.severity === "CRITICAL" ? "bad" : "warn"] }, words(one.severity)),
        h("strong", {}, words(one.reason)), one.model ? h("a", { href: modelLink(one.model) }, one.subject) : one.subject,
        h("span", { class: "tag" }, one.service), one.state === "over" ? h("span", { class: "badge good" }, "over") : null,
        one.count > 1 ? h("span", { class: "soft small" }, plural(one.count, "time")) : null),
      h("div", { class: "row" },
        one.state === "open" ? h("button", { type: "button", class: "small main", onclick: () => acknowledge(one, done) }, "Acknowledge") : null,
        one.silence ? h("button", { type: "button", class: "small", onclick: () => unsilence(one.silence, done) }, "End the silence")
          : h("button", { type: "button", class: "small", onclick: () => silence(one, done) }, "Silence"))),
    h("p", {}, one.message),
    h("small", { class: "soft" }, "newest ", when(one.last_at_ms), one.count > 1 ? [", first ", when(one.first_at_ms)] : null,
      one.acknowledged ? [` · acknowledged by ${one.acknowledged.actor} `, when(one.acknowledged.at_ms), `: ${one.acknowledged.comment}`] : null,
      one.silence ? ` · silenced by ${one.silence.actor} until ${stamp(one.silence.until_ms)} UTC: ${one.silence.comment}` : null,
      one.href ? [" · ", h("a", { href: one.href }, "evidence")] : null),
    one.count > 1 ? h("details", { open: open.has(one.key), ontoggle: (event) => (event.target.open ? open.add(one.key) : open.delete(one.key)) },
      h("summary", { class: "small" }, "Each of them"),
      h("ul", { class: "plain-list small" }, one.alerts.map((alert) => h("li", { key: alert.alert_id }, when(alert.raised_at_ms), ` ${alert.message}`)))) : null);
}

const told = (does, more = {}) => ({ path: null, read: () => ({ does, ...more }) }); // these need no question to the server

function acknowledge(one, done) {
  ask({
    path: "/api/alerts/acknowledge", reasonName: "comment", title: `Acknowledge ${words(one.reason)}`, button: "Acknowledge", done,
    body: { service: one.service, reason: one.reason, subject: one.subject },
    preview: told([`${plural(one.count, "alert")} of this cause ${one.count === 1 ? "is" : "are"} marked as looked at by you.`, "New alerts of this cause open it again."],
      { does_not: ["It mends nothing, and silences nothing."] }),
  });
}

function silence(one, done) {
  ask({
    path: "/api/alerts/silence", reasonName: "comment", title: `Silence ${words(one.reason)}`, button: "Silence", done,
    body: (box) => ({ service: one.service, reason: one.reason, subject: one.subject, for_s: Number($('[name="for"]', box).value) }),
    more: h("label", { class: "field" }, h("span", {}, "For"), h("select", { name: "for" }, FOR.map(([seconds, text]) => h("option", { value: seconds }, text)))),
    preview: told([`Alerts of ${one.service} with the reason ${words(one.reason)} about ${one.subject} call nobody for that time.`],
      { does_not: ["They are recorded, and stand under “silenced”."], undo: "End the silence on this page." }),
  });
}

function unsilence(found, done) {
  ask({
    path: "/api/alerts/unsilence", reasonName: "comment", title: "End the silence", button: "End it", done, body: { handling_id: found.handling_id },
    preview: told(["Alerts that match call people again."]),
  });
}

function silences(rows) {
  if (!rows.length) return empty("No silence");
  return h("ul", { class: "list" }, rows.map((one) => h("li", { key: one.handling_id },
    h("div", { class: "split" }, h("div", {}, [one.service, one.reason && words(one.reason), one.subject].filter(Boolean).join(" · ") || "one alert"),
      h("button", { type: "button", class: "small", onclick: () => unsilence(one, () => list.refresh()) }, "End")),
    h("small", { class: "soft" }, `until ${stamp(one.until_ms)} UTC, by ${one.actor}: ${one.comment}`))));
}
