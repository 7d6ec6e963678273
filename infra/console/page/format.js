// Elements, numbers and times as people read them.

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const number = (value, digits) => Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 3 });

function scaled(value, step, names, digits) {
  let at = 0;
  while (Math.abs(value) >= step && at < names.length - 1) { value /= step; at += 1; }
  return `${number(value, Math.abs(value) >= 10 ** digits ? digits + 1 : digits)}${names[at]}`;
}

export function show(value, unit = "", digits = 3) {
  if (value === null || value === undefined) return "–";
  if (unit === "bytes") return scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"], digits);
  if (unit === "bytes/s") return `${show(value, "bytes")}/s`;
  if (unit === "ms") return value >= 1000 ? `${number(value / 1000, 3)} s` : `${number(value, 3)} ms`;
  if (unit === "s" || unit === "%") return `${number(value, 3)} ${unit}`;
  return scaled(value, 1000, ["", " k", " M", " G"], digits) + (unit === "/s" ? "/s" : "");
}

export function share(value) { // between 0 and 1; 99.96 % is not 100 %
  if (value === null || value === undefined) return "–";
  const percent = 100 * value;
  if (percent === 100 || percent === 0) return `${percent} %`;
  if (percent > 99) return `${Math.min(percent, 99.99).toFixed(2)} %`;
  return `${number(percent, 3)} %`;
}

export function clock(seconds, precise = false) {
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(precise ? { second: "2-digit" } : {}) };
  return new Date(seconds * 1000).toLocaleTimeString("en", options);
}

export function moment(seconds) { // with its day, unless that is today's
  const day = new Date(seconds * 1000).toLocaleDateString("en", { day: "numeric", month: "short" });
  return day === new Date().toLocaleDateString("en", { day: "numeric", month: "short" }) ? clock(seconds, true) : `${day}, ${clock(seconds)}`;
}

export function lasting(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${number(seconds / 3600, 2)} h`;
}

export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// A state is a shape and a colour.
const SHAPES = {
  healthy: () => svg("circle", { cx: 8, cy: 8, r: 5.5 }),
  degraded: () => svg("path", { d: "M8 1.8 15 14.2H1z" }),
  failing: () => svg("path", { d: "M5 1.5h6L14.5 5v6L11 14.5H5L1.5 11V5z" }),
  idle: () => svg("circle", { cx: 8, cy: 8, r: 4.5, class: "hollow" }),
};

export function glyph(state, hidden = false) {
  const made = svg("svg", { class: `glyph ${state}`, viewBox: "0 0 16 16", width: 14, height: 14, ...(hidden ? { "aria-hidden": "true" } : { role: "img", "aria-label": state }) });
  made.append(SHAPES[state]());
  return made;
}

export function spark(calls, failed, label) {
  const width = 108, height = 24;
  const top = Math.max(...calls.map((each) => each ?? 0), 1e-9);
  const x = (at) => (calls.length < 2 ? width / 2 : 1 + (at * (width - 2)) / (calls.length - 1));
  const y = (value) => height - 2 - (value / top) * (height - 5);
  const runs = (values) => { // a gap ends a run
    const found = [[]];
    values.forEach((value, at) => (value === null ? found.push([]) : found.at(-1).push([x(at), y(value)])));
    return found.filter((run) => run.length);
  };
  const line = (run) => (run.length === 1 ? `M${run[0][0] - 1} ${run[0][1]}h2` : `M${run.map((point) => point.map((each) => each.toFixed(1)).join(" ")).join("L")}`);
  const area = (run) => `${line(run)}L${run.at(-1)[0].toFixed(1)} ${height - 2}L${run[0][0].toFixed(1)} ${height - 2}Z`;
  const made = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  for (const run of runs(calls)) made.append(svg("path", { class: "calls-area", d: area(run) }), svg("path", { class: "calls", d: line(run) }));
  if (failed.some((each) => each > 0)) for (const run of runs(failed)) made.append(svg("path", { class: "failed-area", d: area(run) }), svg("path", { class: "failed", d: line(run) }));
  return made;
}
