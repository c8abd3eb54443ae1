// Plotly, from the platform's own files, in the page's colours. Loaded when a page first needs a chart.
import { h } from "./dom.js";

let loading = null;

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = h("script", { src: "/static/plotly.min.js" });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.min.js could not be loaded"));
    document.head.append(script);
  });
  return loading;
}

const NAMES = ["text", "soft", "line", "line-strong", "surface", "raised", "accent", "accent-fill", "good", "good-fill", "warn", "warn-fill",
  "bad", "bad-fill", "odd", "odd-fill", "sunken"];

/** The colours of the theme in force, by token. */
export function colours() {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  const found = {};
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

/** The same colour, let through. */
export const faint = (colour, alpha) => colour.replace(/^rgb\((.+)\)$/, `rgba($1, ${alpha})`);

const SERIES = { // Okabe and Ito; the yellow is left out, for nobody sees it on white
  light: ["#0072b2", "#d55e00", "#00805d", "#b0558a", "#b57d00", "#3d8fc4"],
  dark: ["#56b4e9", "#f0833a", "#1fc294", "#d998bb", "#e69f00", "#9fd3f5"],
};
const DASHES = ["solid", "dash", "dashdot", "longdash", "longdashdot", "solid"];

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

/** Colour and dash of a version, the same wherever it is drawn. */
export function seriesStyle(version) {
  const list = SERIES[isDark() ? "dark" : "light"];
  const at = (Math.max(1, version) - 1) % list.length;
  return { colour: list[at], dash: DASHES[at] };
}

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset", showTips: false };

/** Layout that all charts share. */
export function frame(own) {
  const colour = colours();
  const axis = { gridcolor: colour.line, linecolor: colour["line-strong"], zeroline: false, tickfont: { color: colour.soft, size: 12 } };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour.text },
    margin: { l: 8, r: 16, t: 8, b: 36 },
    hoverlabel: { bgcolor: colour.raised, bordercolor: colour["line-strong"], font: { color: colour.text, size: 12.5 }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: colour.text } },
    ...own,
  };
  for (const name of Object.keys(layout)) if (/^[xy]axis/.test(name)) layout[name] = { ...axis, ...layout[name] };
  return layout;
}

/** Draw `make()` = {traces, layout} into `holder`, again when the theme changes. `taken(point)` hears of clicks. */
export async function draw(holder, make, taken) {
  const Plotly = await plotly();
  holder.make = make;
  holder.taken = taken;
  await redraw(Plotly, holder);
  if (holder.drawn) return;
  holder.drawn = true;
  holder.on("plotly_click", (event) => holder.taken?.(event.points[0]));
  document.addEventListener("millrace:theme", () => holder.isConnected && redraw(Plotly, holder));
}

async function redraw(Plotly, holder) {
  const { traces, layout } = holder.make();
  await Plotly.react(holder, traces, frame(layout), CONFIG);
}

/** Show the whole range again. */
export async function unzoom(holder) {
  const Plotly = await plotly();
  await Plotly.relayout(holder, { "xaxis.autorange": true, "yaxis.autorange": true });
}

/** A holder for a chart: what is inside belongs to the chart, so patches leave it alone. */
export const chartHolder = (id, words, small) =>
  h("div", { id, key: id, class: ["chart", small && "small"], "data-kept": true, role: "img", "aria-label": words });
