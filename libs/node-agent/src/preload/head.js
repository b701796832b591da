// Pando's preload. It measures the process that it is in and reports once a second; in a cluster's
// worker it also answers the order to drain. The rules of every part:
// - No exception gets out, nothing is printed, nothing keeps the event loop alive. A part that
//   fails turns itself off and is named in the reports.
// - What the app may replace or fake (timers, clocks, JSON) is taken before the app's first line.
// - Per request: two looks at the clock, one lookup, a few additions. No closures, no listeners.
'use strict';

const MAX_ROUTES = 200;
const MAX_PEERS = 100;
const MAX_NAME = 200;
const OTHER = '(other)';
const UNMATCHED = '(unmatched)';

