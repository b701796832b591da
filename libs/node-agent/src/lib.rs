//! The preload that Node.js workers get by `NODE_OPTIONS=--require`, as one text.
//!
//! Its parts lie in `preload/`, a file a subject. They share one CommonJS module's scope, in which
//! the last of them starts what the others define, so a process needs to read one file only. What
//! it reports is `monitor_spec::agent::Report`.

/// To be written to a file whose name ends in `.js` (or `.cjs`, where a package.json says `"type": "module"`).
pub const SOURCE: &str = concat!(
    include_str!("preload/head.js"),
    include_str!("preload/parts.js"),
    include_str!("preload/histogram.js"),
    include_str!("preload/fold.js"),
    include_str!("preload/routes.js"),
    include_str!("preload/fastify.js"),
    include_str!("preload/server.js"),
    include_str!("preload/http2.js"),
    include_str!("preload/outgoing.js"),
    include_str!("preload/runtime.js"),
    include_str!("preload/report.js"),
    include_str!("preload/drain.js"),
    include_str!("preload/start.js"),
);
