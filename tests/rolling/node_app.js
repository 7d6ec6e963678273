// The HTTP service on Node's own server: a request may ask to be answered late, /300 after 300 ms. One that takes a second
// or more is announced on stdout, so that a test knows that it is under way. It stops as Node's documentation says: accept
// no more, close kept connections without a request, finish the others.
"use strict";

const http = require("node:http");

const server = http.createServer((request, response) => {
  const milliseconds = Number(request.url.slice(1)) || 0;
  if (milliseconds >= 1000) console.log(request.url);
  setTimeout(() => response.end(request.url), milliseconds);
});

process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

server.listen(8080, process.env.HOST || "0.0.0.0");
