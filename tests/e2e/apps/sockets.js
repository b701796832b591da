// A WebSocket server (npm ws) that echoes, beside an HTTP server that streams events. NODE_PATH has
// the packages.
'use strict';
const http = require('node:http');
const { WebSocketServer } = require('ws');

// Streams that wait for /go before their second event.
let waiting = [];

const server = http.createServer((request, response) => {
  if (request.url === '/events') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.write('data: first\n\n');
    waiting.push(response);
    return;
  }
  if (request.url === '/go') {
    for (const stream of waiting) stream.end('data: second\n\n');
    waiting = [];
  }
  response.end('ok');
});

const sockets = new WebSocketServer({ server, maxPayload: 16 << 20 });
sockets.on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});
server.listen(Number(process.env.PORT), '127.0.0.1');
