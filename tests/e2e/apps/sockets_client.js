// node sockets_client.js URL: texts, a large binary message and a close through a WebSocket.
'use strict';
const { WebSocket } = require('ws');

const socket = new WebSocket(process.argv[2], { rejectUnauthorized: false });
const large = Buffer.alloc(3 << 20, 'pando');
const sent = ['one', 'two', 'three', large];
let at = 0;
socket.on('open', () => sent.forEach((message) => socket.send(message)));
socket.on('message', (data) => {
  if (!data.equals(Buffer.from(sent[at]))) throw new Error(`message ${at} came back changed`);
  at += 1;
  if (at === sent.length) socket.close(4001, 'done');
});
socket.on('close', (code) => {
  if (at !== sent.length || code !== 4001) throw new Error(`closed with ${code} after ${at} messages`);
  console.log('echoed');
});
