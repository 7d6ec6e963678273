// The map of services: a box for each, with its state, and an arrow for each pair that calls.

import { layout } from "./layout.js";
import { make, share, show, svg } from "./format.js";

const BOX = { width: 172, height: 46, gapX: 132, gapY: 20 };
const MARGIN = 18;
const MOST_NODES = 60; // more of them nobody reads
const SMALLEST = 0.66; // of its own size
const PORTS = 0.62; // part of a box's height over which its arrows are spread
const FEW_EDGES = 40; // of more only the busy and the bad have a label
const BUSY = 0.15; // of the busiest
const ORDER = ["failing", "degraded", "healthy", "idle"];

export const LABELS = {
  rate: ["calls a second", (edge) => show(edge.rate, "/s", 2)],
  success: ["success", (edge) => (edge.rate ? share((edge.rate - edge.failed) / edge.rate) : "–")],
  p95: ["p95", (edge) => show(edge.p95, "ms")],
  zone: ["share in the zone", (edge) => show(edge.zone_local, "%")],
};

export function chosen(mesh) { // what fails, who calls it and whom it calls; else the busiest
  const rows = new Map(mesh.services.map((row) => [row.name, row]));
  const names = [...rows.keys(), ...mesh.callers];
  if (names.length <= MOST_NODES) return { names, left: 0 };
  const busy = (name) => rows.get(name)?.rate ?? 0;
  const kept = new Set(mesh.roots.slice(0, MOST_NODES / 4));
  const add = (wanted) => wanted.forEach((name) => kept.size < MOST_NODES && kept.add(name));
  const near = (set) => mesh.edges.filter((edge) => set.has(edge.source) !== set.has(edge.target))
    .toSorted((one, other) => other.failed - one.failed || other.rate - one.rate)
    .map((edge) => (set.has(edge.source) ? edge.target : edge.source));
  const of = (state) => names.filter((name) => rows.get(name)?.state === state).toSorted((one, other) => busy(other) - busy(one));
  add(of("failing").slice(0, MOST_NODES / 2));
  add(near(new Set(kept)).slice(0, MOST_NODES / 2));
  add(of("degraded").slice(0, MOST_NODES / 4));
  const most = mesh.roots.length ? kept.size : MOST_NODES; // what is well only hides what fails
  for (const edge of mesh.edges.toSorted((one, other) => other.rate - one.rate)) { // in pairs: a box alone tells nothing
    if (kept.size + 2 > most) break;
    add([edge.source, edge.target]);
  }
  return { names: [...kept], left: names.length - kept.size };
}

export function describe(row, name, root) {
  if (!row) return `${name}, calls others only`;
  const parts = [name, row.state, row.reason, row.rate ? `${show(row.rate)} calls a second` : "", root ? "probable root" : ""];
  return parts.filter(Boolean).join(", ");
}

export function drawMap({ names, edges, rows, roots, label, focus = "", address }) {
  const known = new Set(names);
  const shown = edges.filter((edge) => known.has(edge.source) && known.has(edge.target));
  const ranked = names.toSorted((one, other) => ORDER.indexOf(rows.get(one)?.state ?? "idle") - ORDER.indexOf(rows.get(other)?.state ?? "idle") || (one < other ? -1 : 1));
  const plan = layout(ranked, shown, BOX);
  const most = Math.max(...shown.map((edge) => edge.rate), 1e-9);
  const width = plan.width + 2 * MARGIN, height = plan.height + 2 * MARGIN;
  const arrows = svg("g", { class: "edges" });
  const texts = svg("g", { class: "labels", "aria-hidden": "true" });
  const middles = [];
  spreadPorts(plan.paths);
  for (const { edge, reversed, points } of plan.paths) {
    const kind = edge.failed / edge.rate >= 0.05 ? "failing" : edge.failed / edge.rate >= 0.01 ? "degraded" : edge.rate ? "healthy" : "idle";
    const path = svg("path", {
      class: `edge ${kind}`,
      d: curve(reversed ? points.toReversed() : points, reversed),
      "stroke-width": (1.2 + 3 * Math.sqrt(edge.rate / most)).toFixed(2),
      "marker-end": `url(#arrow-${kind})`,
    });
    const told = `${edge.source} calls ${edge.target}: ${Object.values(LABELS).map(([what, of]) => `${what} ${of(edge)}`).join(", ")}`;
    path.append(svg("title", {}, told));
    arrows.append(path);
    if (shown.length <= FEW_EDGES || kind === "failing" || kind === "degraded" || edge.rate >= BUSY * most) middles.push({ edge, kind, ...middle(points) });
  }
  for (const each of apart(middles)) texts.append(svg("text", { x: each.x, y: each.y, class: each.kind }, LABELS[label][1](each.edge)));
  const boxes = svg("g", { class: "nodes" });
  for (const name of names) boxes.append(box(name, rows.get(name), plan.places.get(name), roots.includes(name), name === focus, address));
  const made = svg("svg", { class: "map", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `Map of ${names.length} services and ${shown.length} pairs that call` });
  made.style.minWidth = `${Math.round(width * SMALLEST)}px`; // rather scrolled than unreadable
  made.append(markers(), arrows, texts, boxes);
  return make("div", { class: "mapframe", tabindex: "-1" }, made);
}

function spreadPorts(paths) { // arrows leave and reach a box beside each other, in the order of where they come from
  const ends = new Map();
  const add = (key, end, other) => (ends.has(key) ? ends.get(key).push({ end, other }) : ends.set(key, [{ end, other }]));
  for (const { points } of paths) {
    const first = points[0], last = points.at(-1);
    add(`out ${first.x} ${first.y}`, first, points[1].y);
    add(`in ${last.x} ${last.y}`, last, points.at(-2).y);
  }
  for (const list of ends.values()) {
    const step = (BOX.height * PORTS) / Math.max(list.length, 2);
    list.sort((one, other) => one.other - other.other).forEach((each, at) => { each.end.y += (at - (list.length - 1) / 2) * step; });
  }
}

function curve(points, reversed) { // from the caller's edge to the one called, which is on its left if the edge leads back
  const last = points.length - 1;
  const side = (place) => (place === 0 ? (reversed ? 0 : BOX.width) : place === last ? (reversed ? BOX.width : 0) : BOX.width / 2);
  const at = points.map((point, place) => ({ x: MARGIN + point.x + side(place), y: MARGIN + point.y }));
  at[last].x += reversed ? 7 : -7; // room for the arrow's head
  let path = `M${at[0].x} ${at[0].y}`;
  for (let place = 1; place <= last; place += 1) {
    const one = at[place - 1], two = at[place];
    const reach = (two.x - one.x) / 2;
    path += `C${(one.x + reach).toFixed(1)} ${one.y.toFixed(1)} ${(two.x - reach).toFixed(1)} ${two.y.toFixed(1)} ${two.x.toFixed(1)} ${two.y.toFixed(1)}`;
  }
  return path;
}

function middle(points) { // of the part that ends at the target, where lines are apart
  const one = points.at(-2), two = points.at(-1);
  return { x: MARGIN + two.x - BOX.gapX / 2, y: MARGIN + one.y + (two.y - one.y) * 0.5 };
}

function apart(labels) { // labels of one column do not lie on each other
  const sorted = labels.toSorted((one, other) => one.x - other.x || one.y - other.y);
  sorted.forEach((each, at) => {
    const before = sorted[at - 1];
    if (before && before.x === each.x && each.y - before.y < 14) each.y = before.y + 14;
  });
  return sorted;
}

function markers() {
  const made = svg("defs");
  for (const kind of ORDER) {
    made.append(svg("marker", { id: `arrow-${kind}`, class: kind, viewBox: "0 0 8 8", refX: 1, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" }, svg("path", { d: "M0 0 8 4 0 8z" })));
  }
  return made;
}

const SHAPE = {
  healthy: () => svg("circle", { cx: 18, cy: 23, r: 6 }),
  degraded: () => svg("path", { d: "M18 16 25.5 29h-15z" }),
  failing: () => svg("path", { d: "M15 16h6l4 4v6l-4 4h-6l-4-4v-6z" }),
  idle: () => svg("circle", { cx: 18, cy: 23, r: 5, class: "hollow" }),
};

function box(name, row, place, root, focus, address) {
  const state = row?.state ?? "idle";
  const group = svg("g", { class: `node ${state}${root ? " root" : ""}${focus ? " focus" : ""}${row ? "" : " caller"}`, transform: `translate(${MARGIN + place.x} ${MARGIN + place.y})` });
  group.append(svg("title", {}, describe(row, name, root)));
  group.append(svg("rect", { width: BOX.width, height: BOX.height, rx: row ? 9 : 23 }));
  if (row) group.append(SHAPE[state]());
  const text = row ? second(row) : "calls others";
  const x = row ? 34 : 20;
  group.append(svg("text", { x, y: 20, class: "name" }, name.length > 19 ? `${name.slice(0, 18)}…` : name), svg("text", { x, y: 36, class: "numbers" }, text));
  if (root) group.append(svg("text", { x: 4, y: -5, class: "tag" }, "PROBABLE ROOT"));
  return row ? svg("a", { href: address(name), "aria-label": describe(row, name, root) }, group) : group;
}

function second(row) {
  if (row.rate) return row.success === null ? show(row.rate, "/s") : `${show(row.rate, "/s")} · ${share(row.success)}`;
  return row.healthy === 0 ? "no healthy endpoint" : "no calls";
}
