// The server that every row of the bench runs: 13 bytes for everything, but for the few routes that
// the other tables need.
'use strict';
const http = require('node:http');

function stall(ms) {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

const server = http.createServer((request, response) => {
  if (request.url === '/pid') {
    response.end(String(process.pid));
    return;
  }
  if (request.url === '/stall') stall(5000);
  response.end('Hello, World!');
});
// Proxies keep connections to it; one that it closes at the moment of use would be answered with 502.
server.keepAliveTimeout = 120_000;
server.listen(Number(process.env.PORT));

process.on('SIGTERM', () => server.close(() => process.exit(0)));
process.on('SIGINT', () => server.close(() => process.exit(0)));
