// An app behind a gateway: says who answers, and takes connections over that ask for `echo`.
'use strict';
const http = require('node:http');

const server = http.createServer((request, response) => {
  if (request.url === '/stall') {
    const end = Date.now() + 2000;
    while (Date.now() < end);
  }
  response.end(String(process.pid));
});
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
server.listen(Number(process.env.PORT));
