// Listens at once, but says that it is ready only when READY_FILE is there.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
http.createServer((request, response) => response.end(String(process.pid))).listen(Number(process.env.PORT));
const timer = setInterval(() => {
  if (!fs.existsSync(process.env.READY_FILE)) return;
  clearInterval(timer);
  process.send('ready');
}, 20);
