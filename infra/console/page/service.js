// One service: how it is, its neighbours, its plots, and what the registry knows of it.

import { glyph, lasting, make, moment, plural, share, show } from "./format.js";
import { liveCard } from "./live.js";
import { LABELS, drawMap } from "./map.js";
import { plotCard } from "./plot.js";

export function service(view, page) {
  const row = view.row;
  if (!row) {
    return [make("h1", {}, view.name), make("p", { class: "empty" }, `No service ${view.name} sent metrics in this time, and the registry does not list it. `, make("a", { href: page.address("/") }, "All services"))];
  }
  return [title(view, row), tiles(row), findingList(view.registry.flatMap((document) => document.findings ?? [])), neighbours(view, page), view.registry_error ? null : liveCard(view.name), ...plots(view), ...registry(view)].filter(Boolean);
}

function title(view, row) {
  const state = make("p", { class: `verdict ${row.state}` }, row.reason || "calls are answered",
    row.since === null ? "" : `, since ${moment(row.since)} (${lasting(view.read_at - row.since)})`);
  return make("section", { class: "title" }, make("h1", {}, glyph(row.state), row.name,
    row.protocol === "tcp" ? make("span", { class: "kind" }, "TCP") : null, view.roots.includes(view.name) ? make("span", { class: "tag" }, "probable root") : null), state);
}

function tiles(row) {
  const all = row.healthy === null ? null : row.healthy + row.ejected + row.unhealthy;
  const found = [
    ["Calls", show(row.rate, "/s"), `${show(row.window_rate, "/s")} in the window`],
    ["Success", share(row.success), `${share(row.window_success)} in the window`],
    ["p50", show(row.p50, "ms"), ""],
    ["p95", show(row.p95, "ms"), ""],
    ["p99", show(row.p99, "ms"), ""],
    ["Endpoints", all === null ? "–" : all === row.healthy ? String(row.healthy) : `${row.healthy} of ${all}`, row.ready === null ? "healthy to callers" : `${row.ready} of ${row.endpoints} ready in the registry`],
  ];
  return make("dl", { class: "tiles" }, ...found.map(([name, value, more]) => make("div", {}, make("dt", {}, name), make("dd", {}, value), make("dd", { class: "soft" }, more))));
}

export function findingList(found) { // folded: what is wrong may be so for days, and an incident is above it
  if (!found.length) return null;
  const items = found.map((each) => make("li", { class: each.level === "error" ? "bad" : "warn" },
    make("b", {}, each.code), ` ${each.what}`, make("div", { class: "soft" }, [each.resource ?? (each.task ? `task ${short(each.task)}` : ""), each.where, each.since ? `since ${moment(Date.parse(each.since) / 1000)}` : ""].filter(Boolean).join(", ")), make("div", {}, each.remedy)));
  const errors = found.filter((each) => each.level === "error").length;
  return make("details", { class: "card", "data-key": "findings" }, make("summary", {}, plural(found.length, "finding"), errors ? `, ${plural(errors, "error")}` : ""), make("ul", { class: "findings" }, ...items));
}

const short = (id) => (id.length > 12 ? `${id.slice(0, 8)}…` : id);

function neighbours(view, page) {
  const edges = [...view.callers, ...view.callees];
  if (!edges.length) return make("p", { class: "note" }, "Nobody is known to call it or to be called by it.");
  const address = (name) => page.address(`/services/${encodeURIComponent(name)}`);
  const rows = new Map(view.near.map((row) => [row.name, row]));
  const table = (heading, list, other) => make("div", {}, make("h3", {}, heading), list.length ? make("table", { class: "edges" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Service"), ...Object.values(LABELS).map(([what]) => make("th", { scope: "col" }, what)))),
    make("tbody", {}, ...list.toSorted((one, two) => two.failed - one.failed || two.rate - one.rate).map((edge) => {
      const success = edge.rate ? (edge.rate - edge.failed) / edge.rate : null;
      const name = rows.has(edge[other]) ? make("a", { href: address(edge[other]) }, edge[other]) : edge[other];
      const cells = Object.entries(LABELS).map(([key, [, of]]) => make("td", { class: key === "success" && success !== null && success <= 0.95 ? "bad" : null }, of(edge)));
      return make("tr", {}, make("th", { scope: "row" }, glyph(rows.get(edge[other])?.state ?? "idle"), name), ...cells);
    }))) : make("p", { class: "soft" }, "none"));
  const names = [...new Set(edges.flatMap((edge) => [edge.source, edge.target]))].slice(0, 40);
  const map = drawMap({ names, edges, rows, roots: view.roots, label: "rate", focus: view.name, address });
  return make("section", { class: "card" }, make("h2", {}, "Who calls it, and whom it calls"), map,
    make("div", { class: "columns" }, table("Callers", view.callers, "source"), table("It calls", view.callees, "target")));
}

function plots(view) {
  const grid = (part) => make("div", { class: "graphs" }, ...part.plots.filter((plot) => plot.series.length).map((plot) => plotCard(plot, view)));
  const empty = (part) => {
    const titles = part.plots.filter((plot) => !plot.series.length).map((plot) => plot.title);
    return titles.length ? make("p", { class: "note" }, `Nothing in this time: ${titles.join(" · ")}`) : null;
  };
  return view.parts.map((part, at) => (at ? make("details", { "data-key": part.title }, make("summary", {}, "More plots"), grid(part), empty(part) ?? "")
    : make("section", {}, make("h2", {}, "Traffic"), grid(part), empty(part))));
}

function registry(view) {
  if (view.registry_error) return [make("p", { class: "note" }, `The registry is not shown: ${view.registry_error}`)];
  return view.registry.flatMap((document) => [facts(document), endpoints(document), history(document)].filter(Boolean));
}

function facts(document) {
  const aliases = document.aliases.map((alias) => `${alias.dns_name}:${alias.port}`).join(", ");
  const policy = Object.keys(document.policy ?? {}).length ? make("pre", {}, JSON.stringify(document.policy, null, 2)) : "none: the defaults hold";
  const found = [["Namespace", document.namespace], ["Protocol", document.protocol], ["Aliases", aliases || "none"], ["Address in tasks", document.vip], ["ECS service", document.ecs_service ?? "none"],
    ["Owners", (document.owners ?? []).join(", ") || "–"], ["Policy", policy]];
  if (document.policy_since) found.push(["Policy since", moment(Date.parse(document.policy_since) / 1000)]);
  for (const each of document.conflicts ?? []) found.push(["Alias refused", `${each.dns_name}:${each.port} belongs to ${each.holder}`]);
  for (const each of document.refused ?? []) found.push(["Claim refused", `${each.claimant}: ${each.reason}`]);
  return make("section", { class: "card" }, make("h2", {}, `Registry: ${document.namespace}`), make("dl", { class: "facts" }, ...found.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])));
}

const STATES = { ready: "healthy", unhealthy: "failing", starting: "degraded", draining: "idle" };

function endpoints(document) {
  if (!document.endpoints.length) return make("p", { class: "note" }, "The registry knows no endpoint of it.");
  const rows = document.endpoints.map((each) => make("tr", {}, make("th", { scope: "row", title: each.id }, glyph(STATES[each.state] ?? "idle", true), short(each.id.split("/")[0])),
    make("td", {}, each.state), make("td", {}, `${each.address}:${each.port}`), make("td", {}, each.zone || "–"), make("td", {}, each.task_definition ?? "–"), make("td", {}, each.since ? moment(Date.parse(each.since) / 1000) : "–")));
  const columns = ["Task", "State", "Address", "Zone", "Task definition", "Since"].map((name) => make("th", { scope: "col" }, name));
  return make("section", { class: "card" }, make("h2", {}, "Endpoints"), make("div", { class: "tableframe" }, make("table", { class: "endpoints" }, make("thead", {}, make("tr", {}, ...columns)), make("tbody", {}, ...rows))));
}

function history(document) {
  if (!document.history?.length) return null;
  const items = document.history.map((each) => make("li", { class: each.level === "ERROR" ? "bad" : each.level === "WARN" ? "warn" : null },
    make("time", { datetime: each.at }, moment(Date.parse(each.at) / 1000)), ` ${each.event.replaceAll("_", " ").toLowerCase()}`, make("span", { class: "soft" }, each.reason ? ` ${each.reason}` : "")));
  return make("section", { class: "card" }, make("h2", {}, "What ECS did"), make("ul", { class: "history" }, ...items));
}

export function ownParts(view) { // the sidecars and the control plane
  return view.parts.map((part) => {
    const full = part.plots.filter((plot) => plot.series.length);
    const empty = new Map();
    for (const plot of part.plots) if (!plot.series.length) empty.set(plot.empty, [...(empty.get(plot.empty) ?? []), plot.title]);
    return make("section", {}, make("h2", {}, part.title), make("p", { class: "soft" }, part.text), make("div", { class: "graphs" }, ...full.map((plot) => plotCard(plot, view))),
      ...[...empty].map(([why, titles]) => make("p", { class: "note" }, `${why}: ${titles.join(" · ")}`)));
  });
}
