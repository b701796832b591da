// A plain HTTP app with a route for each thing that a worker can do to its supervisor.
'use strict';
const http = require('node:http');
const fs = require('node:fs');

const started = Date.now();
const port = process.env.LISTEN || Number(process.env.PORT || 3000);
const kept = [];

function busy(ms) {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

const routes = {
  '/': () => String(process.pid),
  '/hello': () => 'Hello, World!',
  '/env': (query) => process.env[query.get('name')] || '',
  '/instance': () => String(process.env.NODE_APP_INSTANCE),
  '/version': () => process.version,
  '/release': () => process.env.RELEASE || 'none',
  '/stall': (query) => {
    busy(Number(query.get('ms')));
    return String(process.pid);
  },
  '/leak': (query) => {
    kept.push(Buffer.alloc(Number(query.get('mb')) * 1024 * 1024, 1));
    return String(process.memoryUsage().rss);
  },
  '/exit': (query) => process.exit(Number(query.get('code'))),
  '/say': (query) => {
    console.log(query.get('text'));
    return 'said';
  },
};

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/wait') {
    setTimeout(() => response.end(String(process.pid)), Number(url.searchParams.get('ms')));
    return;
  }
  if (url.pathname === '/healthz') {
    // Unhealthy for as long as the file is there.
    const sick = process.env.SICK_FILE && fs.existsSync(process.env.SICK_FILE);
    response.writeHead(sick ? 503 : 200).end(String(process.pid));
    return;
  }
  const route = routes[url.pathname];
  if (!route) {
    response.writeHead(404).end('no such route');
    return;
  }
  response.end(route(url.searchParams));
});

if (process.env.KEEP_ALIVE_MS) server.keepAliveTimeout = Number(process.env.KEEP_ALIVE_MS);

setTimeout(() => {
  server.listen(port, () => console.log(`listening after ${Date.now() - started} ms`));
}, Number(process.env.BOOT_MS || 0));

process.on('SIGTERM', () => {
  if (process.env.IGNORE_SIGTERM) return;
  server.close(() => process.exit(0));
});
