// Plots over time, drawn by uPlot: gaps stay gaps, deployments are marks, the cursor shows time and values.

import { clock, make, moment, show, svg } from "./format.js";

const LIGHT = ["#2f6fdf", "#c77700", "#0b8a6a", "#7a4fd0", "#c2397f", "#0e7f9c", "#5d7d12", "#566173"];
const DARK = ["#6ea8fe", "#f2b84b", "#3ecfa3", "#b197fc", "#f283b6", "#4cc9e6", "#a9d14b", "#b6c0cf"];
const MEANT = { // labels that have colours which people expect: good, warning, bad
  "2XX": "--good", healthy: "--good", "4XX": "--warn", ejected: "--warn", "5XX": "--bad", unhealthy: "--bad",
};
const DASHES = [[], [6, 4], [2, 3]];
const HEIGHT = 168;
const BYTE_STEPS = Array.from({ length: 44 }, (_, power) => 2 ** power);
const NEAR = 8; // pixels from a mark at which its text is shown

export const dark = window.matchMedia("(prefers-color-scheme: dark)");
const shown = new Set();
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function style(label, at) {
  if (MEANT[label]) return { stroke: css(MEANT[label]), dash: [] };
  const palette = dark.matches ? DARK : LIGHT;
  return { stroke: palette[at % palette.length], dash: DASHES[Math.floor(at / palette.length) % DASHES.length] };
}

function swatch({ stroke, dash }) {
  return svg("svg", { width: 18, height: 4, "aria-hidden": "true" }, svg("line", { x1: 0, x2: 18, y1: 2, y2: 2, stroke, "stroke-width": 2.5, "stroke-dasharray": dash.join(" ") }));
}

export function plotCard(plot, view) { // drawn by `drawPlots`, when it has its width
  const lines = plot.series.map((series, at) => style(series.label, at));
  const values = plot.series.map(() => make("b"));
  const time = make("span", { class: "at" });
  const list = make("ul", { class: "legend" }, ...plot.series.map((series, at) => make("li", {}, swatch(lines[at]), series.label, values[at])));
  const place = make("div", { class: "place", role: "img", "aria-label": `${plot.title}: ${plot.series.map((each) => each.label).join(", ")}` });
  const unit = { "/s": "a second", "bytes/s": "a second" }[plot.unit] ?? "";
  const card = make("article", { class: "graph" }, make("h3", {}, plot.title, make("small", {}, unit)), place, list, time);
  card.plot = { plot, view, lines, place, values, time };
  return card;
}

export function drawPlots(root) {
  for (const card of root.querySelectorAll(".graph")) {
    if (!card.plot || card.plot.chart || !card.plot.place.checkVisibility()) continue; // what is folded is drawn when it is opened
    card.plot.chart = draw(card.plot);
    card.chart = card.plot.chart;
    shown.add(card);
  }
}

export function forgetPlots() {
  for (const card of shown) card.plot.chart.destroy();
  shown.clear();
}

function draw({ plot, view, lines, place, values, time }) {
  const edge = css("--edge");
  const axis = { stroke: css("--soft"), font: "11px system-ui, sans-serif", grid: { stroke: edge, width: 1 }, ticks: { stroke: edge, width: 1, size: 4 } };
  const tell = (chart) => {
    const at = chart.cursor.idx;
    plot.series.forEach((series, number) => {
      const last = series.values.findLastIndex((each) => each !== null);
      values[number].textContent = show(series.values[at ?? last], plot.unit);
    });
    const near = at === null || at === undefined ? null : view.marks.find((mark) => Math.abs(chart.valToPos(mark.at, "x") - chart.cursor.left) < NEAR);
    time.textContent = at === null || at === undefined ? "" : near ? `${moment(near.at)} ${near.text}` : clock(view.times[at], view.period < 60);
  };
  const chart = new uPlot({
    width: place.clientWidth,
    height: HEIGHT,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "time" }, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, space: 64, size: 26, values: (_, splits) => splits.map((each) => clock(each, view.period < 60 && view.times.length < 20)) },
      { ...axis, size: 62, space: 34, ...(plot.unit.startsWith("bytes") ? { incrs: BYTE_STEPS } : {}), values: (_, splits) => splits.map((each) => show(each, plot.unit)) },
    ],
    series: [{}, ...lines.map((line, at) => ({ label: plot.series[at].label, width: 1.75, spanGaps: false, points: { show: alone(plot.series[at].values), size: 5 }, ...line }))],
    hooks: { setCursor: [tell], draw: [(made) => drawMarks(made, view.marks)] },
  }, [view.times, ...plot.series.map((each) => each.values)], place);
  tell(chart);
  return chart;
}

// Points without a neighbour make no line.
const alone = (values) => (chart, series) => values.some((value, at) => value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null) && series > 0;

function drawMarks(chart, marks) {
  const { ctx, bbox } = chart;
  ctx.save();
  for (const mark of marks) {
    const x = Math.round(chart.valToPos(mark.at, "x", true));
    ctx.strokeStyle = ctx.fillStyle = css(mark.level === "ERROR" ? "--bad" : "--accent");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.beginPath();
    const size = 5 * devicePixelRatio;
    ctx.moveTo(x - size, bbox.top - size);
    ctx.lineTo(x + size, bbox.top - size);
    ctx.lineTo(x, bbox.top + size / 2);
    ctx.fill();
  }
  ctx.restore();
}
