// node sockets_h2_client.js ORIGIN: a WebSocket over HTTP/2 (RFC 8441), frames made by hand.
'use strict';
const http2 = require('node:http2');

const session = http2.connect(process.argv[2], { rejectUnauthorized: false });
session.on('error', (error) => { throw error; });
session.on('remoteSettings', (settings) => {
  if (!settings.enableConnectProtocol) throw new Error('the server does not offer extended CONNECT');
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/',
    'sec-websocket-version': '13',
  }, { endStream: false });
  stream.on('response', (headers) => {
    if (headers[':status'] !== 200) throw new Error(`status ${headers[':status']}`);
    // A masked text frame, the mask being zero.
    stream.write(Buffer.from([0x81, 0x84, 0, 0, 0, 0, ...Buffer.from('echo')]));
  });
  const got = [];
  stream.on('data', (data) => {
    got.push(data);
    const bytes = Buffer.concat(got);
    if (bytes.length < 6) return;
    if (!bytes.equals(Buffer.from([0x81, 0x04, ...Buffer.from('echo')]))) throw new Error(bytes.toString('hex'));
    console.log('echoed');
    stream.close();
    session.close();
  });
});
