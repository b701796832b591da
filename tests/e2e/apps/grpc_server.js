// A gRPC server (npm @grpc/grpc-js) without a schema: messages are bytes. HTTP/2 without TLS.
'use strict';
const grpc = require('@grpc/grpc-js');

const bytes = (value) => value;
const method = (name, requestStream, responseStream) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});

const server = new grpc.Server();
server.addService(
  { say: method('Say', false, false), fail: method('Fail', false, false), chat: method('Chat', true, true) },
  {
    say: (call, callback) => {
      const trailers = new grpc.Metadata();
      trailers.set('x-sum', String(call.request.length));
      callback(null, call.request, trailers);
    },
    fail: (call, callback) => callback({ code: grpc.status.NOT_FOUND, details: 'no such thing' }),
    chat: (call) => {
      call.on('data', (message) => call.write(message));
      call.on('end', () => call.end());
    },
  },
);
server.bindAsync(`127.0.0.1:${process.env.PORT}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
