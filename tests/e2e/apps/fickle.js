// Serves, or is broken in the way that the file MODE_FILE says when it boots.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const mode = fs.readFileSync(process.env.MODE_FILE, 'utf8').trim();
if (mode === 'throw') throw new Error('release 2 is broken');
const server = http.createServer((request, response) => {
  if (request.url === '/healthz') response.writeHead(mode === 'sick' ? 500 : 200).end(mode);
  else response.end(mode);
});
if (mode === 'never') {
  console.error('waiting for a thing that never comes');
  setInterval(() => {}, 1000);
} else {
  server.listen(Number(process.env.PORT));
  // Looks well, and is not.
  if (mode === 'late') setTimeout(() => { throw new Error('release 2 is broken, a little later'); }, 300);
  // A timer or a database connection that nobody closes.
  if (mode === 'timer') setInterval(() => {}, 1000);
}
