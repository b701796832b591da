// The stream of pictures: opened while the page is seen, closed while it is hidden.

import { changed, get, notice, state } from "./state.js";
import { clock } from "./format.js";

// Without a picture for so long something is wrong.
const LATE_MS = 5000;
// Silent for so long a connection is dead: a tunnel whose other end has gone tells nothing.
const DEAD_MS = 20_000;

let source = null;
// When it was opened or last said something, and when it was looked at, by this clock.
let heard = 0;
let looked = 0;
let supervisor = null;

export async function start() {
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  setInterval(look, 1000);
  try {
    state.hello = await get("api/hello");
  } catch (error) {
    state.problem = error.problem ?? null;
  }
  open();
}

function open() {
  if (source || state.connection === "shut") return;
  heard = Date.now();
  source = new EventSource("api/live");
  source.addEventListener("now", (event) => take(JSON.parse(event.data)));
  source.addEventListener("lost", (event) => {
    heard = Date.now();
    state.connection = "lost";
    state.problem = JSON.parse(event.data);
    changed();
  });
  source.addEventListener("error", failed);
}

function close() {
  source?.close();
  source = null;
}

function take(now) {
  const pid = now.daemon.find((process) => process.name === "supervisor")?.pid ?? null;
  if (supervisor !== null && pid !== null && pid !== supervisor) {
    notice(`The supervisor was replaced at ${clock(now.time_ms)}: process ${supervisor} by ${pid}. Workers go on.`);
  }
  supervisor = pid ?? supervisor;
  if (state.connection === "gone" || state.connection === "lost") notice("Connected again.");
  state.now = now;
  state.at = heard = Date.now();
  state.ahead = now.time_ms - state.at;
  state.connection = "live";
  state.problem = null;
  changed();
}

// The browser tries again by itself, unless it was refused.
function failed() {
  if (state.connection !== "shut") state.connection = state.now || state.connection === "lost" ? "gone" : "connecting";
  changed();
  if (source?.readyState === EventSource.CLOSED) {
    close();
    get("api/hello")
      .then((hello) => {
        state.hello = hello;
      })
      .catch(() => {})
      .finally(() => setTimeout(open, 2000));
  }
}

function look() {
  const time = Date.now();
  const slept = time - looked > LATE_MS;
  looked = time;
  if (source && (slept || time - heard > DEAD_MS)) {
    close();
    open();
  }
  if (state.connection === "live" && time - heard > LATE_MS && !document.hidden) {
    state.connection = "lost";
    state.problem = {
      what: "no picture comes",
      why: "the supervisor is being replaced, or the machine is very busy",
      fix: "",
    };
  }
  if (state.connection !== "live") changed();
}
