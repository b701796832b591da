//! `pando events`.

use pando_control::api::{Event, Frame, Request};

use crate::context::{Context, Daemon};
use crate::display::text::{Style, one_line};
use crate::display::time::Clock;
use crate::error::{ExpectedError, exit};

pub fn events(ctx: &mut Context) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let (json, color) = (ctx.json, ctx.out.layout.color);
    let mut clock = Clock::local();
    let answer = ctx.call_raw(Request::Events, |out, frame| {
        if let Frame::Event(event) = frame {
            if json {
                out.json_line(&event);
            } else {
                out.line(&line(&event, &mut clock, color));
            }
        }
    });
    answer.map_err(ExpectedError::from)?;
    Ok(exit::OK)
}

fn line(event: &Event, clock: &mut Clock, color: bool) -> String {
    let time = Style::Dim.paint(&clock.show(event.time_ms), color);
    let source = match event.worker {
        Some(worker) => format!("{}.{worker}", one_line(&event.app)),
        None => one_line(&event.app),
    };
    let kind = Style::Bold.paint(&event.kind, color);
    format!("{time} {source} {kind} {}", one_line(&event.text))
        .trim_end()
        .to_owned()
}
