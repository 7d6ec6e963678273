// The first view: what fails and why, the map, and the table of all services.

import { clock, glyph, lasting, make, moment, plural, share, show, spark } from "./format.js";
import { findingList } from "./service.js";
import { LABELS, chosen, drawMap } from "./map.js";

const ROWS = 100; // drawn at first and with each further click
const BADNESS = { failing: 0, degraded: 1, healthy: 2, idle: 3 };
const nothing = (value) => (value === null ? -1 : value);
const SORTS = { // column: [title, value that sorts, true if the greatest comes first, hidden on a phone]
  name: ["Service", (row) => row.name, false],
  rate: ["Calls", (row) => nothing(row.rate), true],
  success: ["Success", (row) => row.success ?? 2, false],
  p50: ["p50", (row) => nothing(row.p50), true, "wide"],
  p95: ["p95", (row) => nothing(row.p95), true],
  p99: ["p99", (row) => nothing(row.p99), true, "wide"],
  retries: ["Retries", (row) => row.retries, true, "wide"],
  endpoints: ["Endpoints", (row) => nothing(row.healthy), false, "wide"],
  window_rate: ["Calls", (row) => row.window_rate, true, "wide"],
  window_success: ["Success", (row) => row.window_success ?? 2, false, "wide"],
};

export function overview(mesh, page) {
  const rows = new Map(mesh.services.map((row) => [row.name, row]));
  if (!mesh.services.length) {
    return [make("p", { class: "empty" }, "No service has sent metrics in this time. Sidecars send theirs once a minute, when there is traffic."), ...notes(mesh)];
  }
  return [...notes(mesh), summary(mesh, rows, page), findingList(mesh.findings), mapSection(mesh, rows, page), tableSection(mesh, page)].filter(Boolean);
}

function notes(mesh) {
  const told = [];
  if (mesh.registry_error) told.push(`The registry is not shown: ${mesh.registry_error}`);
  if (!mesh.whole) told.push("CloudWatch holds more metrics than are looked at: some services are missing");
  return told.map((text) => make("p", { class: "note" }, text));
}

function summary(mesh, rows, page) {
  const counts = { failing: 0, degraded: 0, healthy: 0, idle: 0 };
  mesh.services.forEach((row) => { counts[row.state] += 1; });
  const chips = Object.entries(counts).filter(([state, count]) => count || state === "failing")
    .map(([state, count]) => make("li", { class: count ? state : "none" }, glyph(state, true), make("b", {}, String(count)), ` ${state}`));
  const made = make("section", { class: "summary", "aria-label": "Summary" }, make("h1", {}, headline(counts, mesh)), make("ul", { class: "chips" }, ...chips));
  if (mesh.roots.length) made.append(make("div", { class: "roots" }, ...mesh.roots.slice(0, 3).map((name) => rootCard(mesh, rows, name, page))));
  if (mesh.roots.length > 3) made.append(make("p", { class: "note" }, `and ${plural(mesh.roots.length - 3, "more probable root")}, first in the table`));
  return made;
}

function headline(counts, mesh) {
  if (!counts.failing && !counts.degraded) return `All ${plural(mesh.services.length, "service")} well`;
  if (!counts.failing) return `${plural(counts.degraded, "service")} degraded, none failing`;
  return `${counts.failing} of ${plural(mesh.services.length, "service")} failing`;
}

function rootCard(mesh, rows, name, page) {
  const row = rows.get(name);
  const hit = affected(mesh, rows, name);
  const made = make("article", { class: "rootcard" }, glyph("failing", true));
  const text = make("div", {}, make("p", {}, make("a", { href: page.address(`/services/${encodeURIComponent(name)}`) }, name), " is the probable root: ", make("b", {}, row.reason)));
  if (row.since !== null) text.append(make("p", {}, `since ${moment(row.since)}, for ${lasting(mesh.read_at - row.since)}`, row.since <= mesh.times[0] ? " or longer" : ""));
  if (hit.length) text.append(make("p", { class: "soft" }, `fails with it: ${hit.slice(0, 8).join(", ")}${hit.length > 8 ? ` and ${hit.length - 8} more` : ""}`));
  made.append(text);
  return made;
}

function affected(mesh, rows, root) { // failing services that call it, directly or not
  const found = new Set([root]);
  for (let before = 0; before !== found.size;) {
    before = found.size;
    for (const edge of mesh.edges) if (found.has(edge.target) && rows.get(edge.source)?.state === "failing") found.add(edge.source);
  }
  found.delete(root);
  return [...found];
}

function mapSection(mesh, rows, page) {
  if (!mesh.edges.length) return make("p", { class: "note" }, "No pairs of services that call each other are known yet.");
  const { names, left } = chosen(mesh);
  const label = LABELS[page.get("label")] ? page.get("label") : "rate";
  const choice = make("select", { "data-key": "label", onchange: (event) => page.set({ label: event.target.value === "rate" ? "" : event.target.value }) },
    ...Object.entries(LABELS).map(([key, [what]]) => make("option", { value: key, selected: key === label }, what)));
  const heading = make("div", { class: "bar" }, make("h2", {}, "Map"),
    left ? make("span", { class: "soft" }, `${names.length} of ${(names.length + left).toLocaleString("en")}: ${mesh.roots.length ? "what fails, and its neighbours" : "the busiest"}`) : null,
    make("label", { class: "right" }, "Arrows say ", choice));
  const map = drawMap({ names, edges: mesh.edges, rows, roots: mesh.roots, label, address: (name) => page.address(`/services/${encodeURIComponent(name)}`) });
  return make("section", { class: "card" }, heading, map);
}

function tableSection(mesh, page) {
  const sort = SORTS[page.get("sort")] ? page.get("sort") : "";
  const wanted = (page.get("find") ?? "").toLowerCase();
  const found = sorted(mesh, sort, page.get("down") === "1").filter((row) => row.name.includes(wanted) || row.state === wanted || row.namespaces.includes(wanted));
  const limit = Math.max(Number(page.get("rows")) || ROWS, ROWS);
  const find = make("input", { type: "search", id: "find", "data-key": "find", placeholder: "Find a service or a state", "aria-label": "Find a service or a state", value: page.get("find") ?? "",
    oninput: (event) => page.set({ find: event.target.value, rows: "" }, false) });
  const count = make("span", { class: "soft", role: "status" }, wanted ? `${found.length} of ${plural(mesh.services.length, "service")}` : plural(mesh.services.length, "service"));
  const table = make("table", { class: "services" }, head(mesh, sort, page), make("tbody", {}, ...found.slice(0, limit).map((row) => line(row, mesh, page))));
  const made = make("section", { class: "card" }, make("div", { class: "bar" }, make("h2", {}, "Services"), count, make("span", { class: "right" }, find)), make("div", { class: "tableframe" }, table));
  if (found.length > limit) {
    made.append(make("p", { class: "more" }, make("button", { "data-key": "more", onclick: () => page.set({ rows: String(limit + ROWS) }, false) }, `Show ${Math.min(ROWS, found.length - limit)} more of ${found.length - limit}`)));
  }
  return made;
}

function sorted(mesh, sort, turned) {
  const roots = new Set(mesh.roots);
  if (!sort) { // the worst first
    const rank = (row) => (roots.has(row.name) ? -1 : BADNESS[row.state]);
    return mesh.services.toSorted((one, other) => rank(one) - rank(other) || nothing(other.rate) - nothing(one.rate) || (one.name < other.name ? -1 : 1));
  }
  const [, value, greatest] = SORTS[sort];
  const sign = greatest !== turned ? -1 : 1;
  return mesh.services.toSorted((one, other) => {
    const first = value(one), second = value(other);
    return (first < second ? -1 : first > second ? 1 : 0) * sign || (one.name < other.name ? -1 : 1);
  });
}

function head(mesh, sort, page) {
  const down = page.get("down") === "1";
  const cells = Object.entries(SORTS).map(([key, [title, , greatest, wide]]) => {
    const chosenOne = sort === key;
    const order = !chosenOne ? null : greatest !== down ? "descending" : "ascending";
    const next = chosenOne && !down ? { sort: key, down: "1" } : chosenOne ? { sort: "", down: "" } : { sort: key, down: "" };
    return make("th", { scope: "col", class: wide, "aria-sort": order }, make("button", { "data-key": `sort-${key}`, onclick: () => page.set(next) }, title, order ? make("span", { "aria-hidden": "true" }, order === "descending" ? " ↓" : " ↑") : ""));
  });
  cells.splice(8, 0, make("th", { scope: "col", class: "wide" }, "Calls and failures"));
  const groups = make("tr", { class: "groups" }, make("td"), make("th", { colspan: 7, scope: "colgroup" }, `now, at ${clock(mesh.times[mesh.now] ?? mesh.read_at, mesh.period < 60)}`),
    make("th", { colspan: 3, scope: "colgroup", class: "wide" }, `the last ${lasting(mesh.times.length * mesh.period)}`));
  return make("thead", {}, groups, make("tr", {}, ...cells));
}

function line(row, mesh, page) {
  const root = mesh.roots.includes(row.name);
  const name = make("th", { scope: "row" }, glyph(row.state), make("a", { href: page.address(`/services/${encodeURIComponent(row.name)}`), "data-key": `row-${row.name}` }, row.name),
    " ", row.protocol === "tcp" ? make("span", { class: "kind" }, "TCP") : null, " ", root ? make("span", { class: "tag" }, "probable root") : null,
    row.reason && row.state !== "idle" ? make("div", { class: "reason" }, row.reason, row.since === null ? "" : `, since ${moment(row.since)}`) : null);
  const all = row.healthy === null ? null : row.healthy + row.ejected + row.unhealthy;
  const cell = (text, tone = "", wide = "") => make("td", { class: `${tone} ${wide}`.trim() || null }, text);
  const tone = (value) => (value === null ? "" : value <= 0.95 ? "bad" : value <= 0.99 ? "warn" : "");
  const endpoints = all === null ? (row.ready === null ? "–" : `${row.ready} ready`) : all === row.healthy ? String(row.healthy) : `${row.healthy} of ${all}`;
  return make("tr", { class: row.state },
    name, cell(show(row.rate, "/s")), cell(share(row.success), tone(row.success)), cell(show(row.p50, "ms"), "", "wide"), cell(show(row.p95, "ms")), cell(show(row.p99, "ms"), "", "wide"),
    cell(row.retries ? show(row.retries, "/s") : row.rate === null ? "–" : "0", "", "wide"), cell(endpoints, row.healthy === 0 ? "bad" : row.healthy !== all ? "warn" : "", "wide"),
    make("td", { class: "wide" }, spark(row.calls, row.failed, `calls and failures of ${row.name}`)), cell(row.window_rate ? show(row.window_rate, "/s") : "–", "", "wide"), cell(share(row.window_success), tone(row.window_success), "wide"));
}
