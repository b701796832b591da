// Measures itself, exactly: what the metrics say is compared with /truth.
'use strict';
const http = require('http');
const v8 = require('v8');
const vm = require('vm');

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');
const times = {};
const kept = [];
let count = 0;

const routes = {
  // A spread of waits whose percentiles are far apart.
  '/wait': (res) => setTimeout(() => res.end('waited\n'), [5, 8, 12, 20, 35, 60, 110, 200][count % 8]),
  // Every fourth fails, every fifth of the others is gone.
  '/fail': (res) => {
    res.statusCode = count % 4 === 0 ? 503 : count % 5 === 0 ? 410 : 200;
    res.end(String(res.statusCode));
  },
  '/block': (res, query) => {
    const until = Date.now() + Number(query.get('ms'));
    while (Date.now() < until);
    res.end('blocked\n');
  },
  // From now on keeps so many kilobytes a second of heap, with a full collection each second.
  '/leak': (res, query) => {
    const kilobytes = Number(query.get('kb'));
    setInterval(() => {
      for (let n = 0; n < kilobytes; n += 8) kept.push(new Array(1023).fill(n));
      gc();
    }, 1000).unref();
    res.end('leaking\n');
  },
  '/truth': (res) => res.end(JSON.stringify(times)),
};

http.createServer((req, res) => {
  const began = process.hrtime.bigint();
  const url = new URL(req.url, 'http://x');
  count += 1;
  res.on('finish', () => {
    const took = Number(process.hrtime.bigint() - began) / 1000;
    (times[url.pathname] ??= []).push(took);
  });
  const route = routes[url.pathname];
  if (route) route(res, url.searchParams);
  else {
    res.statusCode = 404;
    res.end('no such route\n');
  }
}).listen(process.env.PORT);
