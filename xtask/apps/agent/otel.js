// OpenTelemetry as its guide sets it up, for http and Express; spans go nowhere, which flatters it.
'use strict';
const { createRequire } = require('module');
const need = createRequire(`${process.env.PACKAGES}/`);
const { NodeSDK, tracing } = need('@opentelemetry/sdk-node');
const { HttpInstrumentation } = need('@opentelemetry/instrumentation-http');
const { ExpressInstrumentation } = need('@opentelemetry/instrumentation-express');

const nowhere = {
  export: (spans, done) => done({ code: 0 }),
  shutdown: async () => {},
  forceFlush: async () => {},
};
new NodeSDK({
  serviceName: 'bench',
  spanProcessors: [new tracing.BatchSpanProcessor(nowhere)],
  instrumentations: [new HttpInstrumentation(), new ExpressInstrumentation()],
}).start();
