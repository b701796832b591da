// Prints numbered lines: LINES of them as fast as it can, or one every LINE_EVERY_MS for ever.
'use strict';
const http = require('node:http');
const pad = 'x'.repeat(80);
const lines = Number(process.env.LINES || 0);
const every = Number(process.env.LINE_EVERY_MS || 0);
let next = 0;

function burst() {
  while (next < lines) {
    let chunk = '';
    for (let i = 0; i < 500 && next < lines; i++) chunk += `line ${next++} ${pad}\n`;
    if (!process.stdout.write(chunk)) {
      process.stdout.once('drain', burst);
      return;
    }
  }
}

http.createServer((request, response) => response.end(String(next))).listen(Number(process.env.PORT), () => {
  if (lines) burst();
  else if (every) setInterval(() => console.log(`line ${next++}`), every);
});
