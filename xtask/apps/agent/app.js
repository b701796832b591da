// What `cargo xtask bench agent` measures: hello world on bare http or Express, or a request that
// takes about a millisecond of CPU.
'use strict';
const { createRequire } = require('module');
// Read by switch.js.
const served = { count: 0 };
process.benchServed = served;
// Packages lie where the bench installed them.
const need = createRequire(`${process.env.PACKAGES}/`);

const rows = Array.from({ length: 60 }, (_, id) => ({ id, name: `row ${id}`, tags: ['a', 'b', 'c'], at: id * 1.5 }));

// A fixed amount of work, so that a busy core does not change it.
function work(rounds) {
  let length = 0;
  for (let round = 0; round < rounds; round++) length += JSON.stringify(JSON.parse(JSON.stringify(rows))).length;
  return `${length}\n`;
}

function express(answer) {
  const app = need('express')();
  if (process.env.VARIANT === 'prom') app.use(need('express-prom-bundle')({ includeMethod: true, includePath: true }));
  app.get('/users/:id', (request, response) => {
    served.count++;
    response.end(answer());
  });
  return app;
}

const hello = () => 'hello\n';
const rounds = Number(process.env.ROUNDS);
const server = {
  http: () => require('http').createServer((request, response) => {
    served.count++;
    response.end('hello\n');
  }),
  express: () => require('http').createServer(express(hello)),
  busy: () => require('http').createServer(express(() => work(rounds))),
}[process.env.APP]();
server.listen(Number(process.env.PORT), '127.0.0.1');
