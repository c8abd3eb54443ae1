// A model's life on one axis of time: how good each version was, with its interval, and below it what happened.
import { chartHolder, colours, draw, faint, seriesStyle } from "../lib/chart.js";
import { $, h, patch } from "../lib/dom.js";
import { count, stamp, words } from "../lib/format.js";
import { empty } from "../lib/view.js";
import { LANES, LANE_NAMES, hover, kindOf, markTable, toneOf } from "./marks.js";
import { metricText } from "./models.js";

const TRAFFIC = "traffic";
const ROWS = [...LANES, TRAFFIC].reverse(); // y grows upwards, the first lane stands at the top

/** Show the timeline in `holder`; `choose(mark)` is called for a mark that was picked. */
export async function timeline(holder, data, choose) {
  if (!data.series.length && !data.marks.length) {
    patch(holder, empty("Nothing measured yet", "A figure appears as soon as labels have come for enough predictions."));
    return;
  }
  patch(holder,
    h("div", { class: "timeline-body", key: "chart" }, chartHolder("timeline-chart", said(data))),
    markTable(data.marks, data.marks_total, data.axis, choose));
  await draw($("#timeline-chart", holder), () => figure(data), (point) => point.data.marks && choose(point.data.marks[point.pointIndex]));
}

function said(data) {
  const versions = [...new Set(data.series.map((one) => one.version))].join(", ");
  return `${words(data.metric)} of versions ${versions} over time, with ${count(data.marks.length)} marks. The list below says the same.`;
}

function figure(data) {
  const colour = colours();
  const slim = innerWidth < 700;
  const traces = [...data.series.flatMap((one) => lines(one, data)), ...lanes(data, colour)];
  const range = [data.from_ms, data.until_ms];
  const rest = (range[1] - range[0]) * 0.015 || 60_000;
  return {
    traces,
    layout: {
      height: slim ? 460 : 520,
      margin: { l: slim ? 92 : 108, r: 14, t: 30, b: 38 }, // room for the lanes' names: measuring it would draw everything twice
      hovermode: "closest",
      hoverdistance: 14,
      dragmode: slim ? false : "zoom",
      uirevision: `${data.axis} ${data.metric} ${data.slice ?? ""}`,
      annotations: data.series.filter((one) => one.source !== "estimate" && one.at_ms.length).map((one) => named(one, colour)),
      shapes: [...traffic(data, range), ...verticals(data, colour)],
      xaxis: { type: "date", range: [range[0] - rest, range[1] + rest], anchor: "y2", showgrid: true, nticks: slim ? 4 : 10 },
      yaxis: { domain: [0.43, 1], tickformat: data.higher_is_better && isShare(data) ? ".0%" : "", nticks: 6,
        title: slim ? "" : { text: words(data.metric), font: { size: 12, color: colour.soft }, standoff: 6 } },
      yaxis2: { domain: [0, 0.38], range: [-0.6, ROWS.length - 0.4], tickvals: ROWS.map((_, at) => at), fixedrange: true,
        ticktext: ROWS.map((name) => (name === TRAFFIC ? "Answers" : LANE_NAMES[name])), showgrid: true, griddash: "dot" },
    },
  };
}

const isShare = (data) => ["accuracy", "auc", "f1", "mape"].includes(data.metric);

/** A version's line with its interval. An estimate, made before labels came, is dotted and has no fill. */
function lines(one, data) {
  const style = seriesStyle(one.version);
  const estimate = one.source === "estimate";
  const at = one.at_ms;
  const name = `v${one.version}${one.variant ? ` ${one.variant}` : ""}${estimate ? " estimated" : ""}`;
  const has = one.low?.some((value) => value !== null);
  const band = has && !estimate && {
    type: "scatter", x: [...at, ...at.toReversed()], y: [...one.high, ...one.low.toReversed()], fill: "toself", fillcolor: faint(rgb(style.colour), 0.18),
    line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: name, mode: "lines",
  };
  const line = {
    type: "scatter", mode: at.length < 3 ? "lines+markers" : "lines", x: at, y: one.value, name, legendgroup: name,
    line: { color: style.colour, width: estimate ? 1.5 : 2, dash: estimate ? "dot" : "solid" },
    customdata: at.map((_, index) => [metricText(data.metric, one.value[index]), interval(data.metric, one, index), count(one.rows[index])]),
    hovertemplate: `<b>${name}</b> %{customdata[0]} ${words(data.metric)}<br>%{customdata[1]}<br>%{customdata[2]} rows · %{x|%d %b %Y %H:%M}<extra></extra>`,
  };
  return [band, line].filter(Boolean);
}

/** A version's name where its line begins: its colour alone would not tell it. */
function named(one, colour) {
  return { x: one.at_ms[0], y: one.value[0], text: `<b>v${one.version}</b>`, showarrow: false, xanchor: "right", yanchor: "bottom", xshift: -2, bgcolor: faint(colour.surface, 0.8),
    font: { size: 12, color: seriesStyle(one.version).colour } };
}

function interval(metric, one, index) {
  const [low, high] = [one.low?.[index], one.high?.[index]];
  return low === null || low === undefined ? "no interval" : `95 %: ${metricText(metric, low)} to ${metricText(metric, high)}`;
}

function rgb(hex) {
  const number = Number.parseInt(hex.slice(1), 16);
  return `rgb(${number >> 16}, ${(number >> 8) & 255}, ${number & 255})`;
}

/** One trace for each kind of mark: its shape tells the kind, its fill the severity. */
function lanes(data, colour) {
  const tones = { bad: colour["bad-fill"], warn: colour["warn-fill"], good: colour["good-fill"], busy: colour["accent-fill"] };
  const kinds = Map.groupBy(data.marks, (mark) => mark.kind);
  const spans = data.marks.filter((mark) => mark.until_ms && mark.until_ms > mark.at_ms);
  const drawn = [...kinds].map(([kind, marks]) => ({
    type: "scatter", mode: "markers", yaxis: "y2", name: kind, showlegend: false, marks, x: marks.map((mark) => mark.at_ms),
    y: marks.map((mark) => ROWS.indexOf(kindOf(mark).lane)),
    marker: {
      symbol: marks.map((mark) => kindOf(mark).symbol), size: kind === "snapshot" ? 7 : 12, opacity: 1,
      color: marks.map((mark) => (kind === "drift" && mark.severity !== "ALARM" ? colour.surface : tones[toneOf(mark)])),
      line: { width: 1.5, color: marks.map((mark) => (kind === "drift" && mark.severity !== "ALARM" ? colour.odd : colour.surface)) },
    },
    hovertemplate: marks.map(hover),
  }));
  const bars = {
    type: "scatter", mode: "lines", yaxis: "y2", showlegend: false, hoverinfo: "skip", line: { width: 5, color: faint(colour["accent-fill"], 0.45) },
    x: spans.flatMap((mark) => [mark.at_ms, mark.until_ms, null]),
    y: spans.flatMap((mark) => [ROWS.indexOf(kindOf(mark).lane), ROWS.indexOf(kindOf(mark).lane), null]),
  };
  return [bars, ...drawn, names(data, colour)];
}

/** Which version answered, written into the lowest lane wherever there is room. */
function names(data, colour) {
  const whole = data.until_ms - data.from_ms || 1;
  const wide = data.shares.filter((one) => (end(one, data) - one.from_ms) / whole > (innerWidth < 700 ? 0.12 : 0.05));
  return {
    type: "scatter", mode: "text", yaxis: "y2", showlegend: false, hoverinfo: "skip", textfont: { color: colour.text, size: 12 },
    x: wide.map((one) => (Math.max(one.from_ms, data.from_ms) + end(one, data)) / 2), y: wide.map(() => 0),
    text: wide.map((one) => one.traffic.filter((part) => part.share > 0).map((part) => `v${part.version}`).join(" · ")),
  };
}

const end = (one, data) => Math.min(one.until_ms ?? data.until_ms, data.until_ms);

/** Who answered when: each version's share of the height of the lowest lane, in the colour of its line. */
function traffic(data, [from, until]) {
  return data.shares.flatMap((one) => {
    let low = -0.36;
    return one.traffic.filter((part) => part.share > 0).map((part) => {
      const high = low + 0.72 * part.share;
      const shape = {
        type: "rect", yref: "y2", x0: Math.max(one.from_ms, from), x1: Math.min(one.until_ms ?? until, until), y0: low, y1: high,
        fillcolor: faint(rgb(seriesStyle(part.version).colour), 0.35), line: { width: 1, color: seriesStyle(part.version).colour }, layer: "below",
      };
      low = high;
      return shape;
    });
  });
}

/** A line through both parts where an alarm was, and where a version became champion. */
function verticals(data, colour) {
  const great = data.marks.filter((mark) => (mark.kind === "drift" && mark.severity === "ALARM") || (mark.kind === "deployment" && mark.severity === "GOOD"));
  return great.slice(0, 60).map((mark) => ({
    type: "line", yref: "paper", x0: mark.at_ms, x1: mark.at_ms, y0: 0, y1: 1, layer: "below",
    line: { width: 1, dash: mark.kind === "drift" ? "dot" : "solid", color: faint(mark.kind === "drift" ? colour["bad-fill"] : colour["good-fill"], 0.7) },
  }));
}

export const spanText = (data) => `${stamp(data.from_ms)} to ${stamp(data.until_ms)} UTC`;
