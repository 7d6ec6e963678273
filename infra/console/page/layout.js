// A layered layout for graphs of calls: callers on the left, what they call on the right.
// Values in, values out: nodes are names, edges are {source, target}; the result has a place for each node and
// points for each edge.

const SWEEPS = 8;

export function layout(names, edges, size) { // size: {width, height, gapX, gapY}
  const used = new Set(edges.flatMap((edge) => [edge.source, edge.target]));
  const connected = names.filter((name) => used.has(name));
  const forward = withoutCircles(connected, edges);
  const ranks = ranked(connected, forward);
  const { layers, chains } = layered(connected, forward, ranks);
  order(layers, chains);
  const heights = spread(layers, chains, size);
  const step = size.width + size.gapX;
  const places = new Map();
  for (const name of connected) places.set(name, { x: ranks.get(name) * step, y: heights.get(name) });
  const bottom = Math.max(0, ...[...heights.values()].map((y) => y + size.height));
  const columns = Math.max(layers.length, 4);
  names.filter((name) => !used.has(name)).forEach((name, at) => places.set(name, {
    x: (at % columns) * step,
    y: bottom + (bottom ? size.gapY * 2 : 0) + Math.floor(at / columns) * (size.height + size.gapY),
  }));
  const paths = forward.map((edge, at) => {
    const points = chains[at].map((key) => ({ rank: ranks.get(key) ?? key.rank, y: heights.get(key) + size.height / 2, x: 0 }));
    points.forEach((point) => { point.x = point.rank * step; });
    return { edge: edge.original, reversed: edge.reversed, points };
  });
  const all = [...places.values()];
  return {
    places,
    paths,
    width: Math.max(0, ...all.map((place) => place.x)) + size.width,
    height: Math.max(0, ...all.map((place) => place.y)) + size.height,
  };
}

function withoutCircles(names, edges) { // edges that lead back are turned round, for the layout only
  const out = new Map(names.map((name) => [name, []]));
  edges.forEach((edge) => out.get(edge.source).push(edge));
  const state = new Map();
  const back = new Set();
  const incoming = new Set(edges.map((edge) => edge.target));
  const starts = [...names.filter((name) => !incoming.has(name)), ...names];
  for (const start of starts) {
    if (state.has(start)) continue;
    const stack = [[start, 0]];
    state.set(start, "open");
    while (stack.length) {
      const top = stack.at(-1);
      const next = out.get(top[0])[top[1]];
      top[1] += 1;
      if (next === undefined) { state.set(top[0], "done"); stack.pop(); continue; }
      if (state.get(next.target) === "open") back.add(next);
      else if (!state.has(next.target)) { state.set(next.target, "open"); stack.push([next.target, 0]); }
    }
  }
  return edges.map((edge) => (back.has(edge)
    ? { source: edge.target, target: edge.source, reversed: true, original: edge }
    : { source: edge.source, target: edge.target, reversed: false, original: edge }));
}

function ranked(names, edges) { // the longest way from a node that nobody calls; sources stand just before their first target
  const ranks = new Map(names.map((name) => [name, 0]));
  const missing = new Map(names.map((name) => [name, 0]));
  edges.forEach((edge) => missing.set(edge.target, missing.get(edge.target) + 1));
  const out = new Map(names.map((name) => [name, []]));
  edges.forEach((edge) => out.get(edge.source).push(edge.target));
  const ready = names.filter((name) => missing.get(name) === 0);
  const sources = [...ready];
  while (ready.length) {
    const name = ready.pop();
    for (const target of out.get(name)) {
      ranks.set(target, Math.max(ranks.get(target), ranks.get(name) + 1));
      missing.set(target, missing.get(target) - 1);
      if (missing.get(target) === 0) ready.push(target);
    }
  }
  for (const name of sources) {
    const next = out.get(name).map((target) => ranks.get(target));
    if (next.length) ranks.set(name, Math.min(...next) - 1);
  }
  return ranks;
}

function layered(names, edges, ranks) { // long edges get a bend in each layer that they cross
  const count = Math.max(0, ...[...ranks.values()].map((rank) => rank + 1));
  const layers = Array.from({ length: count }, () => []);
  names.forEach((name) => layers[ranks.get(name)].push(name));
  const chains = edges.map((edge) => {
    const chain = [edge.source];
    for (let rank = ranks.get(edge.source) + 1; rank < ranks.get(edge.target); rank += 1) {
      const bend = { rank };
      layers[rank].push(bend);
      chain.push(bend);
    }
    return [...chain, edge.target];
  });
  return { layers, chains };
}

function neighbours(chains) {
  const before = new Map();
  const after = new Map();
  const add = (map, key, value) => (map.has(key) ? map.get(key).push(value) : map.set(key, [value]));
  for (const chain of chains) {
    for (let at = 1; at < chain.length; at += 1) {
      add(before, chain[at], chain[at - 1]);
      add(after, chain[at - 1], chain[at]);
    }
  }
  return { before, after };
}

function order(layers, chains) { // by the mean place of the neighbours, to and fro: few edges cross then
  const { before, after } = neighbours(chains);
  const place = new Map();
  const note = (layer) => layer.forEach((key, at) => place.set(key, at));
  layers.forEach(note);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : layers.toReversed()) {
      const near = down ? before : after;
      const mean = new Map(layer.map((key) => {
        const places = (near.get(key) ?? []).map((each) => place.get(each));
        return [key, places.length ? places.reduce((sum, each) => sum + each, 0) / places.length : place.get(key)];
      }));
      layer.sort((one, other) => mean.get(one) - mean.get(other) || place.get(one) - place.get(other));
      note(layer);
    }
  }
}

function spread(layers, chains, size) { // heights: near the mean of the neighbours, never closer than a gap
  const { before, after } = neighbours(chains);
  const room = (key) => (typeof key === "string" ? size.height + size.gapY : size.gapY);
  const heights = new Map();
  for (const layer of layers) {
    let y = 0;
    for (const key of layer) { heights.set(key, y); y += room(key); }
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const layer of sweep % 2 === 0 ? layers : layers.toReversed()) {
      const wished = layer.map((key) => {
        const near = [...(before.get(key) ?? []), ...(after.get(key) ?? [])].map((each) => heights.get(each));
        return near.length ? near.reduce((sum, each) => sum + each, 0) / near.length : heights.get(key);
      });
      const found = [];
      layer.forEach((key, at) => found.push(at ? Math.max(wished[at], found[at - 1] + room(layer[at - 1])) : wished[at]));
      const shift = found.reduce((sum, y, at) => sum + wished[at] - y, 0) / (found.length || 1);
      layer.forEach((key, at) => heights.set(key, found[at] + shift));
    }
  }
  const top = Math.min(...heights.values());
  for (const [key, y] of heights) heights.set(key, y - top);
  return heights;
}
