// A worker that misuses its IPC channel: CHANNEL=garbage, long, deaf, or chatty.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const environ = fs.readFileSync('/proc/self/environ', 'latin1').split('\0');
const fd = Number(environ.find((entry) => entry.startsWith('NODE_CHANNEL_FD=')).slice(16));

function writeAll(bytes) {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += fs.writeSync(fd, bytes, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
    }
  }
}

function misbehave() {
  switch (process.env.CHANNEL) {
    case 'garbage':
      writeAll(Buffer.from('this is no JSON\n{"cmd":"NODE_CLUSTER","act":42}\n[1,2\n{"cmd":"NODE_HANDLE"}\n\xff\xfe\n', 'latin1'));
      break;
    case 'long': {
      const piece = Buffer.alloc(1 << 20, 120);
      for (let i = 0; i < 100; i++) writeAll(piece);
      writeAll(Buffer.from('\n'));
      break;
    }
    case 'chatty':
      for (let i = 0; i < 100000; i++) process.send({ type: 'chat', i });
      break;
  }
}

http.createServer((request, response) => {
  if (request.url === '/misbehave') {
    if (process.env.CHANNEL === 'deaf') {
      response.end('deaf');
      setTimeout(() => {
        for (;;);
      }, 10);
      return;
    }
    response.end('done');
    setImmediate(misbehave);
    return;
  }
  response.end(String(process.pid));
}).listen(Number(process.env.PORT));
