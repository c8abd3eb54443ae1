// A table that scrolls in its own box, sorts by a column, and holds no more rows in the page than somebody reads.
import { h } from "./dom.js";
import { count } from "./format.js";

const PAGE = 50; // rows drawn at first, and added by "more"

/**
 * A table. `columns`: {name, cell(row), num?, sort?(row), class?, head?}; `state` is kept by the caller between drawings:
 * {sort, down, shown}. `key(row)` names a row. `redraw()` draws again after a click.
 */
export function table({ label, columns, rows, key, state, redraw, fresh }) {
  const sorted = sort(rows, columns, state);
  const shown = sorted.slice(0, state.shown ?? PAGE);
  const rest = sorted.length - shown.length;
  return [
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label, key: "scroll" },
      h("table", {},
        h("thead", {}, h("tr", {}, columns.map((column) => header(column, state, redraw)))),
        h("tbody", {}, shown.map((row) => h("tr", { key: key(row), class: fresh?.(row) && "new" },
          columns.map((column, at) => h(at === 0 ? "th" : "td",
            { class: [column.num && "num", column.class], scope: at === 0 ? "row" : null }, column.cell(row)))))))),
    rest > 0
      ? h("footer", { key: "more", class: "row" }, h("button", {
        type: "button", class: "quiet", onclick: () => {
          state.shown = (state.shown ?? PAGE) + PAGE;
          redraw();
        },
      }, `Show ${count(Math.min(PAGE, rest))} more of ${count(rest)}`))
      : null,
  ];
}

/** A table that only shows. `heads` are words; a head that ends with "#" is of numbers. `rows`: {key, cells}; a cell may be a node. */
export function plain(label, heads, rows, more = "plain") {
  const numbers = heads.map((head) => head.endsWith("#"));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", { class: more },
      h("thead", {}, h("tr", {}, heads.map((head, at) =>
        h("th", { class: numbers[at] && "num", scope: "col" }, head.replace(/#$/, ""))))),
      h("tbody", {}, rows.map(({ key, cells }) => h("tr", { key }, cells.map((cell, at) =>
        h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, class: numbers[at] && "num" }, cell)))))));
}

/** Names and what they are; what is not known is left out. */
export function facts(rows) {
  const known = rows.filter(([, what]) => what !== null && what !== undefined && what !== "" && what !== false);
  return h("dl", { class: "facts" }, known.map(([name, what]) => [h("dt", {}, name), h("dd", {}, what)]));
}

function header(column, state, redraw) {
  const same = state.sort === column.name;
  const order = same ? (state.down ? "descending" : "ascending") : null;
  const name = column.head ?? column.name;
  if (!column.sort) return h("th", { class: column.num && "num", scope: "col" }, name);
  return h("th", { class: column.num && "num", scope: "col", "aria-sort": order ?? "none" },
    h("button", {
      type: "button", onclick: () => {
        state.down = same ? !state.down : Boolean(column.num);
        state.sort = column.name;
        redraw();
      },
    }, name, h("span", { "aria-hidden": "true" }, order ? (state.down ? "↓" : "↑") : "")));
}

function sort(rows, columns, { sort: by, down }) {
  const column = columns.find((one) => one.name === by);
  if (!column?.sort) return rows;
  const last = down ? -Infinity : Infinity;
  const keyed = rows.map((row) => [column.sort(row) ?? (column.num ? last : ""), row]);
  keyed.sort(([a], [b]) => (typeof a === "string" || typeof b === "string" ? String(a).localeCompare(String(b)) : a - b));
  if (down) keyed.reverse();
  return keyed.map(([, row]) => row);
}

/** Rows that come page by page from the server. `load(cursor)` gives {rows, next, …}; newer first pages are merged in. */
export class Pages {
  constructor(load, key) {
    this.load = load;
    this.key = key;
    this.clear();
  }

  clear() {
    this.rows = [];
    this.next = null;
    this.first = null;
    this.seen = null;
    this.fresh = new Set();
  }

  /** Read the newest page again, and put what is new before what is there. */
  async newest() {
    const page = await this.load(null);
    const before = new Set(this.rows.map(this.key));
    this.fresh = new Set(this.seen ? page.rows.map(this.key).filter((one) => !before.has(one)) : []);
    const now = new Set(page.rows.map(this.key));
    const joins = page.rows.some((row) => before.has(this.key(row)));
    this.rows = joins ? [...page.rows, ...this.rows.filter((row) => !now.has(this.key(row)))] : page.rows;
    if (!joins || !this.seen) this.next = page.next;
    this.seen = true;
    this.first = page;
    return this;
  }

  async more() {
    if (!this.next) return this;
    const page = await this.load(this.next);
    const there = new Set(this.rows.map(this.key));
    this.rows = [...this.rows, ...page.rows.filter((row) => !there.has(this.key(row)))];
    this.next = page.next;
    this.fresh = new Set();
    return this;
  }
}

/** A button that reads the next page. */
export function moreButton(pages, redraw) {
  if (!pages.next) return null;
  return h("button", {
    type: "button", class: "quiet", onclick: async (event) => {
      event.target.disabled = true;
      await pages.more();
      redraw();
    },
  }, "Older ones");
}
