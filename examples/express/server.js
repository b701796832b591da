// An Express app as anyone would write it: nothing here knows of Pando.
'use strict';
const express = require('express');

const app = express();
const port = Number(process.env.PORT || 3000);

function fibonacci(n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

app.get('/', (request, response) => {
  response.json({ hello: 'world', pid: process.pid });
});

// Work for the CPU: while it runs, this process answers nothing else.
app.get('/compute', (request, response) => {
  const n = Math.min(Number(request.query.n) || 30, 42);
  response.json({ n, fibonacci: fibonacci(n), pid: process.pid });
});

// Waiting, as for a database: this process goes on answering others.
app.get('/wait', (request, response) => {
  const ms = Math.min(Number(request.query.ms) || 100, 60_000);
  setTimeout(() => response.json({ ms, pid: process.pid }), ms);
});

app.get('/fail', () => {
  throw new Error('this route always fails');
});

app.get('/crash', (request, response) => {
  if (process.env.ALLOW_CRASH !== '1') {
    response.status(403).json({ error: 'start me with ALLOW_CRASH=1' });
    return;
  }
  console.error('crashing as asked');
  process.exit(1);
});

app.get('/healthz', (request, response) => {
  response.json({ ok: true });
});

app.use((error, request, response, next) => {
  console.error(error.stack);
  if (response.headersSent) return next(error);
  response.status(500).json({ error: error.message });
});

app.listen(port, (error) => {
  if (error) throw error;
  console.log(`listening on ${port}`);
});
