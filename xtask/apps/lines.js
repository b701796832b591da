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
  while (next < lines) {
    let chunk = '';
    for (let i = 0; i < 600 && next < lines; i++) chunk += `${line()}\n`;
    if (!process.stdout.write(chunk)) {
      process.stdout.once('drain', write);
      return;
    }
  }
}

function log() {
  for (let i = 0; i < 1000 && next < lines; i++) console.log(line());
  if (next < lines) setImmediate(log);
}

http.createServer((request, response) => {
  response.end('started');
  setImmediate(process.env.HOW === 'write' ? write : log);
}).listen(Number(process.env.PORT));
