// Dead letters: why each was refused, its bytes, and back to where it came from.
import { ask } from "../lib/action.js";
import { ApiError, get, part } from "../lib/api.js";
import { $, h, patch } from "../lib/dom.js";
import { bytes, count, plural, shortId, when, words } from "../lib/format.js";
import { live } from "../lib/live.js";
import { openDrawer } from "../lib/over.js";
import { shell, toast } from "../lib/shell.js";
import { Pages, moreButton, table } from "../lib/table.js";
import { empty, view } from "../lib/view.js";
import { fromAddress, selectOf, toAddress } from "../parts/filters.js";

const chosen = fromAddress(["stream", "reason"]);
const picked = new Set();
const state = { shown: Infinity };

const session = await shell();
const streams = [...new Set((session.projects ?? []).map((one) => one.stream).filter(Boolean))];
if (!chosen.stream && streams.length > 1) [chosen.stream] = streams;

const pages = new Pages(async (cursor) => {
  const page = await get("/api/dead-letters", { ...chosen, cursor, limit: 50 });
  return { ...page, rows: page.letters };
}, (one) => one.place);

const list = view($("#letters"), {
  load: () => pages.newest(),
  kinds: ["letters"],
  render: () => {
    const { total, reasons, topic } = pages.first;
    $("#letters-note").textContent = `${plural(total, "letter")} in ${topic}, ${count(pages.rows.length)} shown.`;
    patch($("#reasons"), reasonsOf(reasons));
    patch($("#letters-tools"), tools());
    patch($("#letters-more"), moreButton(pages, () => list.redraw()));
    $("#letters-more").hidden = !pages.next;
    if (!pages.rows.length) return empty("No dead letter", "Every record that came was valid. What is refused appears here, with the reason.");
    return table({ label: "Dead letters", columns: COLUMNS, rows: pages.rows, key: pages.key, state, redraw: () => list.redraw(), fresh: (one) => pages.fresh.has(one.place) });
  },
  loaded: () => live.start(),
});

const COLUMNS = [
  { name: "Letter", cell: (one) => h("label", { class: "pick" }, h("input", { type: "checkbox", checked: picked.has(one.place), onchange: (event) => pick(one, event.target.checked) }), h("code", {}, one.place)) },
  { name: "Reason", cell: (one) => h("span", { class: "badge warn" }, words(one.reason)) },
  { name: "In words", class: "words", cell: (one) => one.message },
  { name: "From", cell: (one) => h("code", { class: "nowrap" }, one.origin) },
  { name: "Key", cell: (one) => one.key ?? "–" },
  { name: "Size", num: true, cell: (one) => bytes(one.bytes) },
  { name: "When", cell: (one) => when(one.at_ms) },
  { name: "Sent back", cell: (one) => (one.replays ? h("span", { class: "badge good" }, when(one.replayed_at_ms)) : "–") },
  { name: "Actions", cell: (one) => h("div", { class: "row tight" },
    h("button", { type: "button", class: "small", onclick: () => show(one), "aria-label": `Show letter ${one.place}` }, "Show"),
    h("button", { type: "button", class: "small", onclick: () => replay([one.place]), "aria-label": `Replay letter ${one.place}` }, "Replay")) },
];

function pick(one, on) {
  if (on) picked.add(one.place);
  else picked.delete(one.place);
  patch($("#letters-tools"), tools());
}

function tools() {
  return [
    streams.length > 1 ? selectOf("Stream", chosen.stream, streams, (value) => choose("stream", value)) : null,
    picked.size ? h("button", { type: "button", class: "main", key: "picked", onclick: () => replay([...picked]) }, `Replay ${count(picked.size)} chosen`) : null,
    pages.first?.total ? h("button", { type: "button", key: "all", onclick: () => replay([], chosen.reason || null) }, chosen.reason ? `Replay all “${words(chosen.reason)}”` : "Replay all") : null,
  ];
}

function reasonsOf(reasons) {
  const all = Object.entries(reasons ?? {}).sort(([, a], [, b]) => b - a);
  if (!all.length) return null;
  return h("div", { class: "filters", role: "group", "aria-label": "Reasons" },
    [["", "all", pages.first.total], ...all.map(([reason, number]) => [reason, words(reason), number])].map(([reason, text, number]) =>
      h("button", { type: "button", key: reason, "aria-pressed": String(chosen.reason === reason), onclick: () => choose("reason", reason) }, text, h("b", {}, count(number)))));
}

function choose(name, value) {
  chosen[name] = value;
  toAddress(chosen);
  pages.clear();
  picked.clear();
  list.refresh();
}

function replay(places, reason = null) {
  const stream = pages.first.stream;
  ask({
    path: "/api/dead-letters/replay",
    reasonName: "comment", // `reason` is the filter
    body: { stream, places, reason },
    preview: {
      read: (body) => ({
        does: [body.words, ...(body.repeats ? [`${plural(body.repeats, "record")} of them ${body.repeats === 1 ? "was" : "were"} sent back before.`] : [])],
        does_not: (body.impossible ?? []).map((one) => `${one.place} cannot go back: ${one.why}.`),
        possible: body.replay > 0 || body.repeats > 0,
        why_not: body.words,
        undo: "Nothing: what is valid now is scored; what is not comes back here.",
      }),
    },
    title: places.length === 1 ? `Replay letter ${places[0]}` : places.length ? `Replay ${plural(places.length, "letter")}` : "Replay letters",
    button: "Send them back",
    done: () => {
      picked.clear();
      list.refresh();
    },
  });
}

async function show(one) {
  try {
    const [partition, offset] = one.place.split("/");
    const letter = await get(`/api/dead-letters/${part(pages.first.stream)}/${partition}/${offset}`);
    openDrawer({ title: `Letter ${one.place}`, note: letter.topic, body: body(letter) });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
}

function body(letter) {
  return [
    h("section", {}, h("p", {}, h("span", { class: "badge warn" }, words(letter.reason))), h("p", {}, letter.message),
      h("dl", { class: "facts" }, h("dt", {}, "Refused"), h("dd", {}, when(letter.at_ms)), h("dt", {}, "Key"), h("dd", {}, letter.key ?? "none"),
        letter.replayed_at_ms ? [h("dt", {}, "Sent back"), h("dd", {}, when(letter.replayed_at_ms))] : null),
      h("div", {}, h("button", { type: "button", class: "main", onclick: () => replay([letter.place]) }, "Replay it"))),
    h("section", {}, h("h3", {}, "What it says"), letter.decoded
      ? h("pre", { class: "bytes", tabindex: "0" }, JSON.stringify(letter.decoded, null, 2))
      : h("p", { class: "soft" }, `It cannot be read: ${letter.undecodable ?? "its schema is not known"}`)),
    h("section", {}, h("h3", {}, "Headers"), h("dl", { class: "facts" }, (letter.headers ?? []).map(([name, text]) => [h("dt", {}, shortId(name, 22)), h("dd", {}, text)]))),
    h("section", {}, h("h3", {}, "Bytes"), h("pre", { class: "bytes", tabindex: "0" }, (letter.value_hex ?? "").replace(/(..)/g, "$1 ").trim() || "empty")),
  ];
}
