// Logs as pino does, once at boot, with a plain line and an error beside it.
'use strict';
const http = require('node:http');
http.createServer((request, response) => response.end('ok')).listen(Number(process.env.PORT), () => {
  console.log(JSON.stringify({ level: 30, time: Date.now(), msg: 'it listens', port: process.env.PORT }));
  console.log('a plain line');
  console.error('a line of stderr');
});
