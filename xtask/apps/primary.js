// Node's own cluster: WORKERS workers of server.js; NODE_CLUSTER_SCHED_POLICY is rr or none.
'use strict';
const cluster = require('node:cluster');
cluster.setupPrimary({ exec: require('node:path').join(__dirname, 'server.js') });
for (let i = 0; i < Number(process.env.WORKERS); i++) cluster.fork();
cluster.on('exit', () => cluster.fork());
