// What PM2 puts into the apps that it runs, with the options that it gives.
'use strict';
const { createRequire } = require('module');
const need = createRequire(`${process.env.PACKAGES}/`);
need('@pm2/io').init({ transactions: false, http: true });
