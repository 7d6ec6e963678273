// The dashboard's page: reads /data once in a period and draws it with uPlot. Nothing is fetched from elsewhere.
"use strict";

const LIGHT = ["#2563eb", "#d97706", "#059669", "#7c3aed", "#db2777", "#0891b2", "#65a30d", "#475569", "#b45309", "#dc2626"];
const DARK = ["#60a5fa", "#fbbf24", "#34d399", "#a78bfa", "#f472b6", "#22d3ee", "#a3e635", "#cbd5e1", "#fb923c", "#f87171"];
const STATUS = { 2: 2, 3: 0, 4: 1, 5: 9 }; // classes of answers have colours that people expect
const DASHES = [[], [5, 4], [2, 3], [8, 3, 2, 3]];
const HEIGHT = 160;
const BYTE_STEPS = Array.from({ length: 44 }, (_, power) => 2 ** power);
const FIRST_SECONDS = 3; // until something was read for the first time

const byId = (id) => document.getElementById(id);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const cards = new Map(); // of the graphs that are shown, by section and title
let page = null;
let timer = 0;
let reading = false;

function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function rich(text) { // a sentence with *emphasis*
  const made = make("p");
  text.split("*").forEach((piece, at) => made.append(at % 2 ? make("em", piece) : piece));
  return made;
}

// Numbers for people.

function scaled(value, step, names, digits) {
  let at = 0;
  while (Math.abs(value) >= step && at < names.length - 1) { value /= step; at += 1; }
  return `${Number(value.toFixed(Math.abs(value) < 10 && (at || value % 1) ? digits : at ? 1 : 0))}${names[at]}`;
}

function show(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "bytes") return scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"], 1);
  if (unit === "ms") return value >= 1000 ? `${Number((value / 1000).toPrecision(3))} s` : `${Number(value.toPrecision(3))} ms`;
  if (unit === "s") return `${Number(value.toPrecision(3))} s`;
  if (unit === "%") return `${Number(value.toPrecision(3))} %`;
  return scaled(value, 1000, ["", " k", " M", " G"], 2);
}

function clock(seconds, precise) {
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(precise ? { second: "2-digit" } : {}) };
  return new Date(seconds * 1000).toLocaleTimeString([], options);
}

// Plots.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function styles(plot) { // colour and dash of each series: the colour is the service's, the dash tells its lines apart
  const palette = dark.matches ? DARK : LIGHT;
  const suffixes = [];
  return plot.series.map((series, at) => {
    const status = /^HTTPCode_Target_(\d)XX/.exec(series.label);
    const suffix = series.service ? series.label.slice(series.service.length) : "";
    if (!suffixes.includes(suffix)) suffixes.push(suffix);
    const number = status ? STATUS[status[1]] : series.service ? page.services.indexOf(series.service) : at;
    return { stroke: palette[number % palette.length], dash: DASHES[suffixes.indexOf(suffix) % DASHES.length] };
  });
}

function swatch(style) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("width", "18");
  made.setAttribute("height", "4");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const shape = { x1: 0, x2: 18, y1: 2, y2: 2, stroke: style.stroke, "stroke-width": 2.5, "stroke-dasharray": style.dash.join(" ") };
  for (const [name, value] of Object.entries(shape)) line.setAttribute(name, value);
  made.append(line);
  return made;
}

const label = (series) => series.label.replace(/^ResponseFlag_|^HTTPCode_Target_/, "").replace(/(XX|[A-Z])_Count/, "$1");

function card(plot) {
  const made = make("article", "", "graph");
  const place = make("div", "", "place");
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `${plot.title}: ${plot.series.map((each) => each.label).join(", ")}`);
  const list = make("ul", "", "legend");
  const values = styles(plot).map((style, at) => {
    const item = make("li");
    const value = make("b");
    item.append(swatch(style), label(plot.series[at]), value);
    list.append(item);
    return value;
  });
  if (plot.left_out) list.append(make("li", `and ${plot.left_out} lower ones`, "more"));
  made.append(make("h3", plot.title), place, list);
  made.tell = (chart) => values.forEach((value, at) => {
    const row = chart.data[at + 1];
    const last = row.findLastIndex((each) => each !== null);
    value.textContent = show(row[chart.cursor.idx ?? last], plot.unit);
  });
  return made;
}

function draw(made, plot) {
  const edge = css("--edge");
  const axis = { stroke: css("--soft"), font: "11px system-ui, sans-serif", grid: { stroke: edge, width: 1 }, ticks: { stroke: edge, width: 1, size: 4 } };
  const place = made.querySelector(".place");
  const lines = styles(plot).map((style, at) => ({
    label: plot.series[at].label,
    width: 1.75,
    spanGaps: true,
    points: { show: plot.series[at].values.filter((each) => each !== null).length < 3, size: 5 },
    ...style,
  }));
  made.plot = new uPlot({
    width: place.clientWidth,
    height: HEIGHT,
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "time" }, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { y: { range: (chart, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, space: 64, size: 26, values: (chart, splits) => splits.map((each) => clock(each, page.period < 60)) },
      { ...axis, size: 62, space: 32, ...(plot.unit === "bytes" ? { incrs: BYTE_STEPS } : {}), values: (chart, splits) => splits.map((each) => show(each, plot.unit)) },
    ],
    series: [{}, ...lines],
    hooks: { setCursor: [made.tell] },
  }, [page.times, ...plot.series.map((each) => each.values)], place);
  made.tell(made.plot);
}

// The table of services: sums and last values of what the first section shows.

function table(part) {
  const find = (title) => part.plots.find((plot) => plot.title === title)?.series ?? [];
  const of = (title, service, suffix = "") => find(title).find((each) => each.label === service + suffix)?.values ?? [];
  const sum = (values) => values.reduce((total, each) => total + (each ?? 0), 0);
  const last = (values) => values.findLast((each) => each !== null);
  const made = make("table");
  const head = make("tr");
  ["Service", "Requests", "Responses 5XX", "p50", "p99", "Retries", "Endpoints healthy"].forEach((name) => head.append(make("th", name)));
  made.createTHead().append(head);
  const body = made.createTBody();
  for (const service of page.services) {
    const row = body.insertRow();
    row.className = service === page.service ? "chosen" : "";
    const name = make("button", service);
    name.addEventListener("click", () => choose(service));
    row.insertCell().append(name);
    const answers = ["2XX", "3XX", "4XX", "5XX"].map((each) => sum(of(`Responses ${each}`, service)));
    const all = sum(answers);
    const requests = sum(of("Requests", service)) || all;
    const healthy = last(of("Endpoints, worst view of any task", service, " HealthyEndpoints"));
    const cells = [
      [show(requests, "")],
      [all ? `${show((100 * answers[3]) / all, "%")}` : "–", answers[3] > 0],
      [show(last(of("Response time", service, " p50")), "ms")],
      [show(last(of("Response time", service, " p99")), "ms")],
      [show(sum(of("Retries and ejections", service, " Retries")), "")],
      [show(healthy, ""), healthy === 0],
    ];
    for (const [text, bad] of cells) {
      const cell = row.insertCell();
      cell.textContent = text;
      if (bad) cell.className = "bad";
    }
  }
  const frame = make("div", "", "table");
  frame.append(made);
  return frame;
}

// The page.

function section(part, first) {
  const made = make("section");
  const named = part.plots.some((plot) => plot.series.length) && part.title === "One service";
  made.append(make("h2", named ? page.service : part.title), rich(part.text));
  if (first && page.services.length) made.append(table(part));
  const grid = make("div", "", "graphs");
  made.append(grid);
  const empty = new Map();
  for (const plot of part.plots) {
    if (plot.series.length) {
      const shown = card(plot);
      grid.append(shown);
      cards.set(shown, plot);
    } else {
      empty.set(plot.empty, [...(empty.get(plot.empty) ?? []), plot.title]);
    }
  }
  for (const [why, titles] of empty) made.append(make("p", `${why}: ${titles.join(" · ")}`, "empty"));
  return made;
}

function render() {
  const place = byId("parts");
  const top = window.scrollY;
  for (const shown of cards.keys()) shown.plot.destroy();
  cards.clear();
  const hint = "No service has sent metrics in this time. Sidecars send theirs once a minute, when there is traffic.";
  place.replaceChildren(...(page.services.length ? [] : [make("p", hint, "empty")]), ...page.parts.map((part, at) => section(part, !at)));
  for (const [shown, plot] of cards) draw(shown, plot); // when all stand in the page and have their width
  window.scrollTo(0, top);
  const left = page.services_left_out;
  const point = page.period === 60 ? "one minute" : `${page.period} seconds`;
  byId("source").textContent = `${page.source} · a point is ${point}${left ? ` · ${left} services are not drawn` : ""}`;
  const minutes = String((page.times.length * page.period) / 60);
  const choice = byId("minutes");
  if (![...choice.options].some((each) => each.value === minutes)) choice.prepend(new Option(`${minutes} minutes`, minutes));
  choice.value = minutes;
  const service = byId("service");
  service.replaceChildren(...page.services.map((name) => new Option(name, name, false, name === page.service)));
  service.disabled = !page.services.length;
}

function tell(error) {
  const state = byId("state");
  state.className = error ? "bad" : "good";
  const at = page ? clock(page.read_at, true) : "never";
  state.textContent = error ? `last read ${at}` : `read ${at}`;
  byId("parts").classList.toggle("stale", Boolean(error));
  const shown = byId("error");
  shown.hidden = !error;
  shown.textContent = error ? `CloudWatch cannot be read: ${error}` : "";
}

async function read() {
  if (reading) return;
  reading = true;
  clearTimeout(timer);
  try {
    const wanted = { minutes: byId("minutes").value, service: byId("service").value };
    const answer = await fetch(page ? `/data?${new URLSearchParams(wanted)}` : "/data"); // at first what the command said
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    page = found;
    render();
    tell("");
  } catch (error) {
    tell(error instanceof TypeError ? "tramo dashboard has ended; start it again" : error.message);
  }
  reading = false;
  const seconds = page ? page.period : FIRST_SECONDS;
  timer = setTimeout(() => document.hidden || read(), seconds * 1000);
}

function choose(service) {
  byId("service").value = service;
  read();
}

byId("minutes").addEventListener("change", read);
byId("service").addEventListener("change", read);
dark.addEventListener("change", () => page && render());
document.addEventListener("visibilitychange", () => document.hidden || read());
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (page && window.innerWidth !== width) {
    width = window.innerWidth;
    render();
  }
});
read();
