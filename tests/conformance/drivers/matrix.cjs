// node matrix.cjs http|http2, cases on standard input
//
// Node's own clients. Reads {bases, cases} and prints {case: [answers]}, as tests/support/clients/matrix.py describes them.
'use strict';

const crypto = require('crypto');
const http = require('http');
const http2 = require('http2');
const zlib = require('zlib');

const kind = process.argv[2];
const agent = new http.Agent({ keepAlive: true });
const sessions = new Map();
const PATTERN = Buffer.from(Array.from({ length: 251 }, (_, index) => index));

function lists(fields) {
  const found = {};
  for (const [name, value] of Object.entries(fields)) {
    if (!name.startsWith(':')) found[name] = Array.isArray(value) ? value : [String(value)];
  }
  return found;
}

function body(spec) {
  return spec.body === null ? null : Buffer.alloc(spec.body, PATTERN);
}

function send(request, spec) {
  const data = body(spec);
  if (data !== null && spec.chunked) {
    for (let sent = 0; sent < data.length; sent += 10007) request.write(data.subarray(sent, sent + 10007));
    request.end();
  } else if (data !== null) {
    request.end(data);
  } else if (request.writable && !request.writableEnded) {
    request.end();
  }
}

// Collects the body; `onFirst` is called once its first bytes are there.
function collect(stream, answer, onFirst, done) {
  const parts = [];
  stream.on('data', (data) => {
    if (parts.push(data) === 1) onFirst();
  });
  stream.on('end', () => {
    let data = Buffer.concat(parts);
    if ((answer.headers['content-encoding'] || [])[0] === 'gzip') data = zlib.gunzipSync(data);
    answer.length = data.length;
    answer.sha256 = crypto.createHash('sha256').update(data).digest('hex');
    done();
  });
}

function fields(spec) {
  const found = {};
  if (spec.gzip) found['accept-encoding'] = 'gzip';
  if (spec.expect) found.expect = '100-continue';
  if (spec.body !== null && !spec.chunked) found['content-length'] = String(spec.body);
  if (spec.trailers) found.trailer = 'x-check';
  return found;
}

function byHttp(base, spec) {
  return new Promise((resolve) => {
    const answer = { headers: {}, trailers: {}, error: null, continued: false };
    const fail = (error) => resolve({ ...answer, error: String(error) });
    const request = http.request(base + spec.path, { method: spec.method, headers: fields(spec), agent });
    request.setTimeout(60000, () => request.destroy(new Error('time-out')));
    request.on('error', fail);
    request.on('continue', () => {
      answer.continued = true;
      send(request, spec);
    });
    request.on('response', (response) => {
      Object.assign(answer, {
        status: response.statusCode, version: response.httpVersion, headers: lists(response.headers),
        connection: String(response.socket.localPort),
      });
      response.on('error', fail);
      collect(response, answer, () => spec.release && byHttp(base, { ...spec, path: spec.release, release: '' }), () => {
        answer.trailers = lists(response.trailers);
        resolve(answer);
      });
    });
    if (spec.trailers) request.addTrailers({ 'x-check': 'checked' });
    if (spec.expect) request.flushHeaders();
    else send(request, spec);
  });
}

function sessionOf(base) {
  if (!sessions.has(base)) {
    const session = http2.connect(base);
    session.on('error', () => sessions.delete(base));
    sessions.set(base, session);
  }
  return sessions.get(base);
}

function byHttp2(base, spec) {
  return new Promise((resolve) => {
    const session = sessionOf(base);
    const answer = { headers: {}, trailers: {}, error: null, continued: false };
    const ends = spec.body === null && !spec.trailers;
    const request = session.request(
      { ':path': spec.path, ':method': spec.method, ...fields(spec) },
      { endStream: ends, waitForTrailers: spec.trailers });
    request.setTimeout(60000, () => request.close(http2.constants.NGHTTP2_CANCEL));
    request.on('wantTrailers', () => request.sendTrailers({ 'x-check': 'checked' }));
    request.on('error', (error) => resolve({ ...answer, error: String(error) }));
    request.on('continue', () => {
      answer.continued = true;
      send(request, spec);
    });
    request.on('response', (found) => {
      Object.assign(answer, {
        status: found[':status'], version: '2', headers: lists(found), connection: String(session.socket.localPort),
      });
    });
    request.on('trailers', (found) => { answer.trailers = lists(found); });
    collect(request, answer, () => spec.release && byHttp2(base, { ...spec, path: spec.release, release: '' }), () => {
      if (request.rstCode) answer.error = `reset with ${request.rstCode}`;
      resolve(answer);
    });
    if (!ends && !spec.expect) send(request, spec);
  });
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const { bases, cases } = JSON.parse(Buffer.concat(chunks));
  const ask = kind === 'http' ? byHttp : byHttp2;
  const found = {};
  for (const spec of cases) {
    const base = bases[spec.service];
    if (spec.at_once) {
      found[spec.name] = await Promise.all(Array.from({ length: spec.times }, () => ask(base, spec)));
    } else {
      found[spec.name] = [];
      for (let number = 0; number < spec.times; number += 1) found[spec.name].push(await ask(base, spec));
    }
  }
  console.log(JSON.stringify(found));
  agent.destroy();
  for (const session of sessions.values()) session.close();
}

main();
