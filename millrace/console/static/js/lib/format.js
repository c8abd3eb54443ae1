// Numbers and names as people read them. Times are milliseconds since 1970-01-01T00:00:00Z.
import { h } from "./dom.js";

const LOCALE = "en-GB"; // one way to write a number on every operator's screen
const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const EXACT = new Intl.DateTimeFormat(LOCALE, {
  year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  timeZone: "UTC", timeZoneName: "short",
});
const SHORT = new Intl.DateTimeFormat(LOCALE, {
  year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", timeZone: "UTC",
});
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "narrow" });
const UNITS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000]];
export const NONE = "–";

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
export const count = (value) => (isNumber(value) ? whole.format(value) : NONE);
export const exact = (ms) => (isNumber(ms) ? EXACT.format(ms) : NONE);
export const stamp = (ms) => (isNumber(ms) ? SHORT.format(ms) : NONE);
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A number with three or four digits that matter. */
export function figure(value) {
  if (!isNumber(value)) return NONE;
  if (Number.isInteger(value)) return whole.format(value);
  const size = Math.abs(value);
  if (size >= 1000) return whole.format(value);
  if (size !== 0 && size < 0.001) return value.toExponential(1);
  return value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

export const percent = (value, digits = 0) => (isNumber(value) ? `${(100 * value).toFixed(digits)} %` : NONE);

/** A share of traffic: as few digits as it needs. */
export const share = (value) => percent(value, isNumber(value) && (100 * value) % 1 > 0.05 ? 1 : 0);

export function rate(value) {
  if (!isNumber(value)) return NONE;
  if (value >= 10_000) return `${(value / 1000).toFixed(0)}k/s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)}k/s`;
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1)}/s`;
}

export function bytes(value) {
  if (!isNumber(value)) return NONE;
  const units = ["B", "KB", "MB", "GB", "TB"];
  const step = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${(value / 1000 ** step).toFixed(step && value / 1000 ** step < 10 ? 1 : 0)} ${units[step]}`;
}

export function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 1) return `${(1000 * seconds).toFixed(0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${(seconds / 86_400).toFixed(1)} days`;
}

export function ago(ms, now = Date.now()) {
  const gone = ms - now;
  if (Math.abs(gone) < 1500) return "now";
  for (const [unit, size] of UNITS) if (Math.abs(gone) >= size) return relative.format(Math.trunc(gone / size), unit);
  return "now";
}

/** A wall time: how long ago, the exact time on hover and for a screen reader. It is kept up to date by `tick`. */
export function when(ms) {
  if (!isNumber(ms)) return h("span", { class: "soft" }, NONE);
  return h("time", { datetime: new Date(ms).toISOString(), title: exact(ms), class: "nowrap", "data-ago": ms }, ago(ms));
}

/** An event time: the time itself, for it may be years ago. */
export function eventTime(ms) {
  if (!isNumber(ms)) return h("span", { class: "soft" }, NONE);
  return h("time", { datetime: new Date(ms).toISOString(), title: `event time ${exact(ms)}`, class: "nowrap" }, stamp(ms));
}

/** Bring every relative time on the page up to date, each second; far ones change seldom and cost nothing. */
export function tick() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const words = ago(Number(element.dataset.ago), now);
    if (element.textContent !== words) element.textContent = words;
  }
}

/** The end of a long id, whole on hover. */
export function shortId(id, keep = 12) {
  const text = String(id ?? "");
  if (text.length <= keep + 4) return h("code", {}, text || NONE);
  const cut = /^[0-9a-f]{32,}$/.test(text) ? `${text.slice(0, keep)}…` : `…${text.slice(-keep - 8)}`;
  return h("code", { title: text, class: "nowrap" }, cut);
}

export const words = (slug) => String(slug ?? "").toLowerCase().replaceAll(/[_-]/g, " ");
export const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "");
