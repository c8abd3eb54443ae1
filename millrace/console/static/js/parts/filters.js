// Filters of a list: each choice stands in the page's address, so that a link shows the same list.
import { h } from "../lib/dom.js";

/** What the address says for these names. */
export function fromAddress(names) {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(names.map((name) => [name, query.get(name) ?? ""]));
}

/** Write a choice into the address, without a new entry in the browser's history. */
export function toAddress(chosen) {
  const query = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

/** A select. `values`: [value, words] or value. */
export function selectOf(label, value, values, changed) {
  return h("label", { key: label }, h("span", { class: "sr" }, label), h("select", { onchange: (event) => changed(event.target.value) },
    values.map((one) => [one].flat()).map(([own, text]) => h("option", { value: own, selected: own === value }, text ?? own))));
}

/** A field to search in; `changed` is called when typing rests. */
export function searchOf(label, value, changed) {
  let timer = 0;
  return h("label", { key: label }, h("span", { class: "sr" }, label), h("input", {
    type: "search", value, placeholder: label, autocomplete: "off", oninput: (event) => {
      clearTimeout(timer);
      timer = setTimeout(() => changed(event.target.value.trim()), 250);
    },
  }));
}
