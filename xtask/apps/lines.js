// LINES lines of 100 bytes as fast as it can: HOW=write in big chunks, HOW=console one by one.
// The last line says that it is the last.
'use strict';
const http = require('node:http');
const lines = Number(process.env.LINES);
const pad = '.'.repeat(87);
let next = 0;

function line() {
  return `${String(next++).padStart(11, '0')} ${pad}`;
}

function write() {
  for (let chunks = 0; chunks < 20 && next < lines; chunks++) {
    let chunk = '';
    for (let i = 0; i < 600 && next < lines; i++) chunk += `${line()}\n`;
    // PM2 puts a write of its own here that returns nothing and never drains.
    if (process.stdout.write(chunk) === false) {
      process.stdout.once('drain', write);
      return;
    }
  }
  if (next < lines) setImmediate(write);
}

function log() {
  for (let i = 0; i < 1000 && next < lines; i++) console.log(line());
  if (next < lines) setImmediate(log);
}

http.createServer((request, response) => {
  response.end('started');
  setImmediate(process.env.HOW === 'write' ? write : log);
}).listen(Number(process.env.PORT));
