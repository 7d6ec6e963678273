// node server.cjs ADDRESS HTTP1_PORT HTTP2_PORT
//
// The service that the clients of the matrix call: one behaviour, by Node's http on one port and by its http2 on the
// other. Prints a line once both listen. Bodies made here count up from 0 to 250 and begin again.
'use strict';

const http = require('http');
const http2 = require('http2');
const zlib = require('zlib');

const PIECE = 10007; // no multiple of any frame or buffer
const PATTERN = Buffer.from(Array.from({ length: 251 }, (_, index) => index));
const waiting = []; // answers of /together that wait for the others
const held = new Map(); // of /held, by their name

const pattern = (size) => Buffer.alloc(size, PATTERN);

function bytes(request, response, size) {
  response.writeHead(200, { 'content-length': size, 'content-type': 'application/octet-stream' });
  response.end(request.method === 'HEAD' ? undefined : pattern(size));
}

function pieces(request, response, size) {
  const body = pattern(size);
  let sent = 0;
  const more = () => {
    while (sent < size) {
      sent += PIECE;
      if (!response.write(body.subarray(sent - PIECE, sent))) return void response.once('drain', more);
    }
    response.end();
  };
  response.writeHead(200);
  more();
}

function echo(request, response) {
  response.writeHead(200, {
    'x-method': request.method,
    'x-length': request.headers['content-length'] || 'none',
    'x-expect': request.headers.expect || 'none',
    'x-upgrade': request.headers.upgrade || request.headers['http2-settings'] || 'none',
    'x-path': request.url,
  });
  request.pipe(response);
}

function trailers(request, response) {
  let length = 0;
  request.on('data', (data) => { length += data.length; });
  request.on('end', () => {
    response.writeHead(200, { trailer: 'x-length, x-check' });
    response.write('body');
    response.addTrailers({ 'x-length': String(length), 'x-check': request.trailers['x-check'] || 'none' });
    response.end();
  });
}

function together(request, response, count) {
  waiting.push(response);
  response.on('close', () => waiting.splice(0, waiting.length, ...waiting.filter((each) => each !== response)));
  if (waiting.length === count) {
    for (const each of waiting.splice(0)) {
      each.writeHead(200);
      each.end('together');
    }
  }
}

function hold(request, response, name) {
  response.writeHead(200);
  response.write('first ');
  held.set(name, response);
}

function release(request, response, name) {
  held.get(name).end('second');
  held.delete(name);
  response.end('released');
}

function half(request, response) {
  response.writeHead(200, { 'content-length': 1000 });
  response.write(pattern(500), () => setImmediate(() => cut(request)));
}

function cut(request) {
  if (request.stream) request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
  else request.socket.destroy();
}

function handle(request, response) {
  const [, what, argument] = request.url.split('?')[0].split('/');
  switch (what) {
    case 'bytes': return bytes(request, response, Number(argument));
    case 'pieces': return pieces(request, response, Number(argument));
    case 'trailers': return trailers(request, response);
    case 'together': return together(request, response, Number(argument));
    case 'hold': return hold(request, response, argument);
    case 'release': return release(request, response, argument);
    case 'half': return half(request, response);
    case 'cut': return cut(request);
    case 'cookies':
      response.writeHead(200, { 'set-cookie': ['a=1; Path=/', 'b=2'] });
      return response.end();
    case 'gzip':
      response.writeHead(200, { 'content-encoding': 'gzip', vary: 'accept-encoding' });
      return response.end(zlib.gzipSync(pattern(Number(argument))));
    case 'status':
      request.resume();
      response.writeHead(Number(argument), { etag: '"e"' });
      return response.end(Number(argument) < 400 ? undefined : 'says the service');
    default: return echo(request, response);
  }
}

const [address, http1Port, http2Port] = process.argv.slice(2);
const servers = [http.createServer({ keepAliveTimeout: 0 }), http2.createServer()];
let listening = 0;
servers.forEach((server, index) => {
  server.on('request', handle);
  server.on('checkContinue', (request, response) => {
    response.writeContinue();
    handle(request, response);
  });
  server.listen(Number([http1Port, http2Port][index]), address, () => {
    listening += 1;
    if (listening === servers.length) console.log('listening');
  });
});
