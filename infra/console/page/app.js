// The console's page: shows the view that its address names, and reads it again while it is looked at.
// Nothing is fetched from elsewhere.

import { clock, lasting, make } from "./format.js";
import { overview } from "./overview.js";
import { dark, drawPlots, forgetPlots } from "./plot.js";
import { ownParts, service } from "./service.js";

const FIRST_SECONDS = 3; // until something was read for the first time
const DOLLARS_PER_METRIC = 0.00001; // GetMetricData

const byId = (id) => document.getElementById(id);
let read = null; // what is shown
let asked = ""; // its address
let timer = 0;
let turn = 0;

const page = {
  get: (name) => new URLSearchParams(location.search).get(name),
  address(path) { // keeps the window
    const minutes = page.get("minutes");
    return path + (minutes ? `?minutes=${minutes}` : "");
  },
  set(changes, remember = true) {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) value ? query.set(name, value) : query.delete(name);
    const address = location.pathname + (query.size ? `?${query}` : "");
    history[remember ? "pushState" : "replaceState"](null, "", address);
    show();
  },
};

function source() { // where the numbers of this address are
  const minutes = page.get("minutes");
  const query = minutes ? `?minutes=${encodeURIComponent(minutes)}` : "";
  const path = location.pathname;
  if (path.startsWith("/services/")) return `/data/services/${path.slice("/services/".length)}${query}`;
  return (path === "/mesh" ? "/data/mesh" : "/data/overview") + query;
}

function content() {
  if (location.pathname.startsWith("/services/")) return service({ marks: [], ...read }, page);
  if (location.pathname === "/mesh") return [make("h1", {}, "Sidecars and control plane"), ...ownParts({ marks: [], ...read })];
  return overview(read, page);
}

function render() {
  const place = byId("view");
  const key = document.activeElement?.dataset?.key;
  const caret = document.activeElement?.selectionStart;
  const top = window.scrollY;
  const frames = [...place.querySelectorAll(".mapframe")].map((frame) => frame.scrollLeft);
  const open = new Set([...place.querySelectorAll("details[open]")].map((each) => each.dataset.key));
  forgetPlots();
  place.replaceChildren(...content(), footer());
  place.querySelectorAll("details").forEach((each) => {
    each.open = open.has(each.dataset.key);
    each.addEventListener("toggle", () => drawPlots(each));
  });
  place.querySelectorAll(".mapframe").forEach((frame, at) => { frame.scrollLeft = frames[at] ?? 0; });
  drawPlots(place); // when all stand in the page and have their width
  window.scrollTo(0, top);
  if (key) {
    const again = place.querySelector(`[data-key="${CSS.escape(key)}"]`);
    again?.focus({ preventScroll: true });
    if (caret !== undefined && caret !== null) again?.setSelectionRange?.(caret, caret);
  }
  byId("source").textContent = read.source;
  const minutes = String((read.times.length * read.period) / 60);
  const choice = byId("minutes");
  if (![...choice.options].some((each) => each.value === minutes)) choice.prepend(new Option(`${minutes} minutes`, minutes));
  choice.value = minutes;
  const path = location.pathname;
  document.title = `${path.startsWith("/services/") ? `${decodeURIComponent(path.slice("/services/".length))} · ` : ""}tramo console`;
  document.querySelectorAll("nav a").forEach((link) => {
    const current = new URL(link.href).pathname === (path === "/mesh" ? "/mesh" : "/");
    current ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    link.search = page.get("minutes") ? `minutes=${page.get("minutes")}` : "";
  });
}

function footer() {
  const said = [`a point is ${lasting(read.period)}`, `read again every ${lasting(read.next_read)}`];
  if (read.metrics) said.push(`${read.metrics.toLocaleString("en")} metrics a reading, in AWS $${(read.metrics * DOLLARS_PER_METRIC).toFixed(3)}`);
  return make("footer", {}, said.join(" · "));
}

function tell(error) {
  const state = byId("state");
  state.className = error ? "bad" : "good";
  const at = read ? clock(read.read_at, true) : "never";
  state.textContent = error ? `last read ${at}` : `read ${at}`;
  byId("view").classList.toggle("stale", Boolean(error));
  const shown = byId("error");
  shown.hidden = !error;
  shown.textContent = error ? `The numbers cannot be read: ${error}` : "";
}

async function numbers(address) {
  try {
    const answer = await fetch(address);
    const found = await answer.json();
    return answer.ok ? { found, error: "" } : { error: found.error };
  } catch {
    return { error: "tramo console has ended; start it again" };
  }
}

async function show(again = false) {
  const wanted = source();
  if (!again && wanted === asked && read) { render(); return; } // only the view of it changed
  clearTimeout(timer);
  turn += 1;
  const mine = turn;
  if (!again) byId("state").textContent = "reading";
  const { found, error } = await numbers(wanted);
  if (mine !== turn) return; // another view was asked for meanwhile
  if (found) {
    read = found;
    asked = wanted;
    render();
  }
  tell(error);
  timer = setTimeout(() => document.hidden || show(true), (read ? Math.min(read.next_read, read.period) : FIRST_SECONDS) * 1000);
}

function go(address) {
  history.pushState(null, "", address);
  window.scrollTo(0, 0);
  show().then(() => byId("view").focus({ preventScroll: true }));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a");
  const href = link?.getAttribute("href");
  if (!href?.startsWith("/") || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(href);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && byId("find")) { event.preventDefault(); byId("find").focus(); }
});
window.addEventListener("popstate", () => show());
byId("minutes").addEventListener("change", (event) => page.set({ minutes: event.target.value }));
dark.addEventListener("change", () => read && render());
document.addEventListener("visibilitychange", () => document.hidden || show(true));
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (read && window.innerWidth !== width) {
    width = window.innerWidth;
    render();
  }
});
show();
