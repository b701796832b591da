// Pando's preload. It does nothing until the worker is told to drain: then every answer says
// `Connection: close`, and when no connection is left the supervisor hears of it. It must never
// disturb the app: no listener that keeps the loop alive, no exception that gets out.
'use strict';
(() => {
  const cluster = require('cluster');
  if (!cluster.isWorker || typeof process.send !== 'function') return;
  // A child that the worker forks inherits NODE_OPTIONS but is no worker of Pando's.
  if (process.env.PANDO_AGENT_PID && process.env.PANDO_AGENT_PID !== String(process.pid)) return;
  process.env.PANDO_AGENT_PID = String(process.pid);

  const LOOK_EVERY_MS = 20;
  // A connection on which nothing was ever sent (a browser's preconnect) is closed after this:
  // no request can be lost with it, and Node itself would wait a minute for its first byte.
  const SILENT_MS = 1000;
  const tell = (body) => {
    try {
      if (process.connected) process.send({ cmd: 'NODE_PANDO', ...body }, () => {});
    } catch { /* the channel is closing: nobody is there to hear it */ }
  };

  // Connections of servers that are neither upgraded (WebSocket) nor outgoing.
  const isOpen = (handle) =>
    handle && handle.server && !handle.destroyed && typeof handle.server.getConnections === 'function'
    && !(handle.parser === null && handle._httpMessage === undefined);

  // One with an answer under way.
  const isBusy = (handle) => isOpen(handle) && Boolean(handle._httpMessage);

  // `quick`: only answers under way are waited for, not clients that keep a connection idle.
  const drain = (signal, quick) => {
    const channel = require('diagnostics_channel').channel('http.server.request.start');
    channel.subscribe(({ response }) => {
      try {
        if (!response.headersSent) response.setHeader('Connection', 'close');
        response.shouldKeepAlive = false;
      } catch { /* headers are out: the next answer closes it */ }
    });
    // Answers under way whose headers are not out yet.
    for (const handle of process._getActiveHandles()) {
      try {
        const response = handle && handle._httpMessage;
        if (handle.server && response && !response.headersSent) {
          response.setHeader('Connection', 'close');
          response.shouldKeepAlive = false;
        }
      } catch { /* as above */ }
    }
    const began = Date.now();
    const look = setInterval(() => {
      let open = 1;
      try {
        if (Date.now() - began > SILENT_MS) {
          for (const handle of process._getActiveHandles()) {
            if (isOpen(handle) && handle.bytesRead === 0) handle.destroy();
          }
        }
        open = process._getActiveHandles().filter(quick ? isBusy : isOpen).length;
      } catch { /* the time limit ends the drain */ }
      if (open > 0) return;
      clearInterval(look);
      tell({ act: 'drained', handlesSignal: process.listenerCount(signal) > 0 });
    }, LOOK_EVERY_MS);
    look.unref();
  };

  let draining = false;
  process.on('internalMessage', (message) => {
    if (!message || message.cmd !== 'NODE_PANDO' || message.act !== 'drain' || draining) return;
    draining = true;
    try {
      drain(message.signal, message.quick);
    } catch {
      tell({ act: 'drained', handlesSignal: false });
    }
  });
  tell({ act: 'hello' });
})();
