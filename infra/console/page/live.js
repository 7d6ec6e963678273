// What happens at a service now: requests as they end, and who ejects whom. Sidecars are asked when a button is pressed.

import { make } from "./format.js";

const MOST_ROWS = 100;
const cards = new Map(); // by service: what was asked for stays when the page is drawn anew

export function liveCard(name) {
  if (!cards.has(name)) cards.set(name, card(name));
  return cards.get(name);
}

function card(name) {
  const said = make("p", { class: "soft", role: "status" }, "Sidecars answer within some seconds; a tap lasts 20 s.");
  const shown = make("div", { class: "tableframe" });
  const buttons = [["Tap requests", tap], ["Who ejects its endpoints", ejections]].map(([text, run]) => make("button", { type: "button", "data-key": text, onclick: async () => {
    buttons.forEach((button) => { button.disabled = true; });
    said.textContent = "Asking the sidecars…";
    shown.replaceChildren();
    try {
      said.textContent = await run(name, shown, said);
    } catch (error) {
      said.textContent = error.message;
    }
    buttons.forEach((button) => { button.disabled = false; });
  } }, text));
  return make("section", { class: "card live" }, make("h2", {}, "Live"), make("p", {}, ...buttons), said, shown);
}

async function ask(what, name) {
  let answer;
  try {
    answer = await fetch(`/live/${what}/${encodeURIComponent(name)}`, { method: "POST", headers: { "Content-Type": "application/json" } });
  } catch {
    throw new Error("tramo console has ended; start it again");
  }
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

const table = (...columns) => {
  const body = make("tbody");
  return [make("table", { class: "endpoints" }, make("thead", {}, make("tr", {}, ...columns.map((column) => make("th", { scope: "col" }, column)))), body), body];
};
const cells = (...values) => values.map((value) => make("td", {}, String(value)));

async function tap(name, shown, said) {
  const answer = await ask("tap", name);
  const [made, body] = table("Direction", "To", "Method", "Path", "Status", "Took", "Flags");
  shown.append(made);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let count = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const each = JSON.parse(line);
      count += 1;
      body.prepend(make("tr", { class: each.response_code >= 500 || each.response_code === 0 ? "bad" : null }, ...cells(each.direction, each.upstream_cluster, each.method, each.path, each.response_code, `${each.duration} ms`, each.response_flags)));
      if (body.rows.length > MOST_ROWS) body.deleteRow(-1);
    }
    said.textContent = `${count} requests`;
  }
  return count ? `${count} requests, the latest first.` : "No request ended meanwhile.";
}

async function ejections(name, shown) {
  const found = await (await ask("ejections", name)).json();
  if (found.ejections.length) {
    const [made, body] = table("Endpoint", "Why it is not called", "By", "Task of the caller");
    body.append(...found.ejections.map((each) => make("tr", {}, ...cells(each.endpoint.split("/")[0].slice(0, 8), each.why, each.by || "–", each.task.slice(0, 8)))));
    shown.append(made);
  }
  return `${found.asked} sidecars answered; ${found.ejections.length ? "not called are" : "none of them leaves out an endpoint."}`;
}
