// An Express app whose routes answer, fail on wish, and write lines that a search finds.
const express = require("express");
const app = express();
app.get("/users/:id", (req, res) => res.json({ id: req.params.id }));
app.get("/organisations/:organisationIdentifier/repositories/:repositoryIdentifier", (req, res) => res.end());
app.get("/fails", (req, res) => res.status(500).end());
app.get("/says/:word", (req, res) => {
  console.log(`heard <b>${req.params.word}</b>`);
  res.end();
});
app.get("/shouts", (req, res) => {
  console.log("x".repeat(1024 * 1024));
  console.log("\x1b[31mred\x1b[0m \x1b]0;title\x07end");
  res.end();
});
app.listen(Number(process.env.PORT), "127.0.0.1");
