// node grpc_client.js ADDRESS [CERTIFICATE]: a call, a failing call, a stream in both directions.
'use strict';
const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');

const [address, certificate] = process.argv.slice(2);
const credentials = certificate
  ? grpc.credentials.createSsl(fs.readFileSync(certificate))
  : grpc.credentials.createInsecure();
const client = new grpc.Client(address, credentials);
const bytes = (value) => value;

function say() {
  return new Promise((resolve, reject) => {
    let trailers;
    const call = client.makeUnaryRequest('/test.Echo/Say', bytes, bytes, Buffer.from('hello'), (error, answer) => {
      if (error) return reject(error);
      call.on('status', (status) => { trailers = status.metadata.get('x-sum'); resolve([answer, trailers]); });
    });
  });
}

function fail() {
  return new Promise((resolve) => {
    client.makeUnaryRequest('/test.Echo/Fail', bytes, bytes, Buffer.from('x'), (error) => resolve(error));
  });
}

function chat() {
  return new Promise((resolve, reject) => {
    const call = client.makeBidiStreamRequest('/test.Echo/Chat', bytes, bytes);
    const got = [];
    call.on('error', reject);
    call.on('data', (message) => {
      got.push(message.toString());
      // Each message is sent only after the one before came back: nothing on the way may wait.
      if (got.length < 5) call.write(Buffer.from(String(got.length)));
      else call.end();
    });
    call.on('end', () => resolve(got));
    call.write(Buffer.from('0'));
  });
}

(async () => {
  const [answer, trailers] = await say();
  if (answer.toString() !== 'hello' || trailers[0] !== '5') throw new Error(`${answer} ${trailers}`);
  const error = await fail();
  if (error?.code !== grpc.status.NOT_FOUND || error.details !== 'no such thing') throw new Error(String(error));
  const got = await chat();
  if (got.join() !== '0,1,2,3,4') throw new Error(got.join());
  client.close();
  console.log('called');
})();
