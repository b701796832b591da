// Has a child that ignores every polite signal, and a grandchild in a session of its own.
'use strict';
const http = require('node:http');
const { spawn } = require('node:child_process');
const stubborn = 'trap "" TERM INT HUP; while :; do sleep 1; done';
const child = spawn('sh', ['-c', stubborn], { stdio: 'ignore' });
const far = spawn('setsid', ['sh', '-c', stubborn], { stdio: 'ignore' });
http.createServer((request, response) => response.end(`${process.pid} ${child.pid} ${far.pid}`)).listen(Number(process.env.PORT));
