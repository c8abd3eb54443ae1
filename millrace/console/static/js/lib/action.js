// An action: say what it will do, ask who and why, send it, show the answer in the registry's own words.
import { ApiError, post } from "./api.js";
import { $, h, patch } from "./dom.js";
import { openBox } from "./over.js";
import { actor, announce, rememberActor } from "./shell.js";
import { bones, failed } from "./view.js";

/**
 * Ask for `path` with `body`. `preview` turns its answer into {title, does, does_not, affects, undo, danger, possible, why_not,
 * expected}; `reasonName` is the body's field for the reason; `done(answer)` is called when it was accepted.
 */
export function ask({ path, body, preview, title, button, reasonName = "reason", more, done }) {
  const id = crypto.randomUUID(); // the same request if it is sent twice
  let told = null;
  const box = openBox((close) => h("form", { onsubmit: (event) => submit(event, close) },
    h("div", { class: "title" }, h("h2", { id: "box-title" }, title)),
    h("div", { id: "will" }, preview.path === null ? null : bones()),
    more,
    h("label", { class: "field" }, h("span", {}, "Reason"),
      h("textarea", { name: "reason", required: true, maxlength: 2000, placeholder: "Why, in words. It is kept in the log for ever." })),
    h("label", { class: "field" }, h("span", {}, "Your name"),
      h("input", { name: "actor", required: true, maxlength: 100, value: actor(), autocomplete: "username" })),
    h("div", { id: "answer", role: "status" }),
    h("div", { class: "row end" },
      h("button", { type: "button", onclick: close }, "Cancel"),
      h("button", { type: "submit", class: "main", id: "do", disabled: true }, button))));

  const will = $("#will", box);
  box.addEventListener("change", (event) => event.target.dataset.relook && look()); // such as another version
  look();

  async function look() {
    if (preview.path === null) {
      told = preview.read(null);
      return show();
    }
    try {
      const answer = await post(path, { ...own(), request_id: id, [reasonName]: "" }, { preview: 1 });
      told = preview.read(answer.body);
      show();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      patch(will, failed(error));
    }
  }

  function own() {
    const given = typeof body === "function" ? body(box) : body;
    return { actor: $('[name="actor"]', box).value.trim() || "somebody", ...given };
  }

  function show() {
    if (told.title) $("#box-title", box).textContent = told.title;
    patch(will, described(told));
    const button = $("#do", box);
    button.disabled = told.possible === false;
    button.className = told.danger === "high" ? "danger" : "main";
    if (!box.contains(document.activeElement) || document.activeElement.name === undefined) $("textarea", box).focus();
  }

  async function submit(event, close) {
    event.preventDefault();
    const send = $("#do", box);
    const name = $('[name="actor"]', box).value.trim();
    const reason = $('[name="reason"]', box).value.trim();
    if (!name || !reason || send.disabled) return;
    rememberActor(name);
    send.disabled = true;
    patch($("#answer", box), h("div", { class: "answer" }, h("strong", {}, "Asked"), "Waiting for the answer …"));
    try {
      const { body: answer } = await post(path, { ...own(), ...told?.expected, [reasonName]: reason, request_id: id });
      settle(answer, close);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      said("bad", "It was not done", error.message);
      send.disabled = false;
    }
  }

  function settle(answer, close) {
    const outcome = { ACCEPTED: ["good", "Done"], REFUSED: ["bad", "Refused"] }[answer.outcome] ?? ["", "Written, not answered yet"];
    said(...outcome, answer.words ?? "");
    const row = $("#do", box).parentElement;
    patch(row,
      answer.look && answer.look !== location.pathname && h("a", { class: "button", href: answer.look }, "Look at it"),
      h("button", { type: "button", class: "main", onclick: close, id: "finished" }, "Close"));
    $("#finished", box).focus();
    if (answer.outcome !== "REFUSED") done?.(answer);
  }

  function said(kind, title, words) {
    patch($("#answer", box), h("div", { class: ["answer", kind] }, h("strong", {}, title), h("span", {}, words)));
    announce(`${title}. ${words}`);
  }
  return box;
}

function described(told) {
  if (told.possible === false) {
    return h("div", { class: "will warn" }, h("strong", {}, "This cannot be done now"), h("p", {}, told.why_not ?? ""));
  }
  return [
    h("div", { class: ["will", told.danger === "high" && "warn"] }, h("strong", {}, "What it will do"),
      h("ul", {}, (told.does ?? []).map((line) => h("li", {}, line)))),
    told.affects?.length || told.does_not?.length || told.undo
      ? h("dl", { class: "facts" },
        told.affects?.length ? [h("dt", {}, "Who is affected"), h("dd", {}, told.affects.join("; "))] : null,
        told.does_not?.length ? [h("dt", {}, "What it leaves alone"), h("dd", {}, told.does_not.join(" "))] : null,
        told.undo ? [h("dt", {}, "How to undo it"), h("dd", {}, told.undo)] : null)
      : null,
  ];
}

const BUTTONS = { approve: "Approve", promote: "Promote", rollback: "Roll back", abort: "End the rollout", reject: "Reject",
  retrain: "Ask for a retrain", freeze: "Freeze", unfreeze: "Unfreeze", kill: "End the rollout and freeze", retire: "Retire" };
const SAFE = ["verb", "title", "does", "does_not", "affects", "undo", "danger", "possible", "why_not"];

/** One of the registry's verbs for a model; `version` and `space` where the verb has them. */
export function act({ verb, model, version = null, versions = [], space = null, immediate = false, done }) {
  return ask({
    path: `/api/actions/${verb}`,
    body: (box) => ({ model, version: chosen(box) ?? version ?? versions[0] ?? null, space, immediate }),
    more: version === null && versions.length > 1 ? choice(versions) : null,
    preview: {
      read: (body) => ({
        ...Object.fromEntries(SAFE.map((name) => [name, body[name]])),
        expected: { expected_epoch: body.expected_epoch ?? null },
      }),
    },
    title: `${BUTTONS[verb] ?? verb}: ${model}`,
    button: BUTTONS[verb] ?? verb,
    done,
  });
}

const chosen = (box) => ($('[name="version"]', box) ? Number($('[name="version"]', box).value) : null);

const choice = (versions) => h("label", { class: "field" }, h("span", {}, "Version"),
  h("select", { name: "version", "data-relook": true }, versions.map((one) => h("option", { value: one }, `version ${one}`))));

export const verbName = (verb) => BUTTONS[verb] ?? verb;
