//! The row of charts above a list.

use monitor_spec::metric::Metric;
use monitor_spec::now::{App, Now, Traffic};
use ratatui::layout::Rect;

use super::super::chart::{self, Limits};
use super::super::look::{Pen, columns};
use super::super::model::Model;
use super::super::page::{self, Page};
use super::super::series::{self, Points};
use super::list;
use crate::text::Style;
use crate::units;

const GAP: u16 = 2;
/// Of one chart, without and with its peak in the title.
const WIDTH_MIN: u16 = 18;
const WIDTH_OF_PEAK: u16 = 30;
/// Two dots a cell, a dot a second of two minutes.
const WIDTH_MAX: u16 = 60;

/// Draws them; returns the rows taken.
pub fn draw(model: &Model, pen: &mut Pen, area: Rect) -> u16 {
    let subject = model.subject();
    let metrics = series::metrics(&subject);
    let (Some(now), false) = (model.now.as_deref(), metrics.is_empty()) else {
        return 0;
    };
    let no_gateway = subject == Page::Gateway && now.gateway.is_none();
    if area.height < 12 || no_gateway {
        return 0;
    }
    let mut y = area.y;
    if let (Page::Apps | Page::Top, Some(app)) = (&model.place().page, subject.app()) {
        let title = [
            ("of ".to_owned(), Style::Dim),
            (app.to_owned(), Style::Bold),
        ];
        list::rule(pen, Rect { y, ..area }, &title);
        y += 1;
    }
    let in_row = usize::from((area.width + GAP) / (WIDTH_MIN + GAP)).clamp(1, metrics.len());
    let height = chart_height(area.height);
    let lines = if area.height >= 34 { 2 } else { 1 };
    let count = u16::try_from(in_row).unwrap_or(1);
    let width = ((area.width + GAP) / count - GAP).min(WIDTH_MAX);
    for (line, of_line) in metrics.chunks(in_row).take(lines).enumerate() {
        for (column, metric) in of_line.iter().enumerate() {
            let place = Rect {
                x: area.x + u16::try_from(column).unwrap_or(0) * (width + GAP),
                y,
                width,
                height: height + 1,
            };
            let points = model.series.points(&subject, line * in_row + column, now);
            one(pen, place, *metric, points.as_ref(), &subject, now);
        }
        y += height + 1;
    }
    y - area.y
}

fn chart_height(room: u16) -> u16 {
    match room {
        0..26 => 3,
        26..44 => 4,
        _ => 7,
    }
}

fn one(
    pen: &mut Pen,
    place: Rect,
    metric: Metric,
    points: Option<&Points>,
    subject: &Page,
    now: &Now,
) {
    let limits = series::limits(metric, now, subject);
    let none = Points::default();
    let shown = points.unwrap_or(&none);
    let cells = (usize::from(place.width), usize::from(place.height - 1));
    let peak = chart::scale(&chart::peaks(&shown.values, cells.0 * 2, shown.tick), 0.0);
    let newest = current(metric, now, subject)
        .or_else(|| shown.values.iter().rev().take(3).flatten().next().copied());
    title(pen, place, metric, newest, peak, limits);
    let top = peak.max(series::floor(metric));
    let rows = chart::area(&shown.values, shown.tick, cells, top, limits);
    for (y, row) in (place.y + 1..).zip(rows) {
        for (x, (glyph, style)) in (place.x..).zip(row) {
            if glyph != '\u{2800}' {
                pen.put(x, y, 1, glyph.encode_utf8(&mut [0; 4]), style);
            }
        }
    }
    if shown.values.iter().flatten().next().is_none() {
        let word = if points.is_none() {
            "…"
        } else {
            "no figures"
        };
        pen.put(place.x, place.bottom() - 1, place.width, word, Style::Dim);
    }
}

/// `p95   peak 40 ms   12 ms`.
fn title(
    pen: &mut Pen,
    place: Rect,
    metric: Metric,
    newest: Option<f64>,
    peak: f64,
    limits: Limits,
) {
    let mut x = place.x
        + pen.put(
            place.x,
            place.y,
            place.width,
            series::title(metric),
            Style::Dim,
        );
    let value = newest.map_or("-".to_owned(), |value| text(metric, value));
    if place.width >= WIDTH_OF_PEAK && peak > 0.0 {
        x += pen.put(
            x + 1,
            place.y,
            place.width,
            &format!("peak {}", text(metric, peak)),
            Style::Dim,
        );
    }
    let style = newest.map_or(Style::Dim, |value| limits.style(value, Style::Bold));
    let right = place.right();
    if x + columns(&value) < right {
        pen.put_right(right, place.y, &value, style);
    }
}

pub fn text(metric: Metric, value: f64) -> String {
    match metric.unit() {
        "us" => units::took(value),
        "bytes" => units::size(units::whole(value)),
        "percent" => units::percent(value),
        _ => units::rate(value),
    }
}

/// The value of the picture, which is of ten seconds and so steadier than the last point.
fn current(metric: Metric, now: &Now, subject: &Page) -> Option<f64> {
    if let Page::App(name) = subject {
        return of_app(metric, page::app(now, name)?);
    }
    if let Page::Worker { app, instance } = subject {
        let worker = page::worker(now, app, *instance)?;
        return if metric == Metric::LagP99 {
            worker.lag_p99_us.map(units::float)
        } else if metric == Metric::Memory {
            Some(units::float(worker.memory_bytes))
        } else if metric == Metric::Cpu {
            Some(worker.cpu_percent)
        } else {
            of_traffic(metric, &worker.traffic)
        };
    }
    if let Page::Endpoint { app, method, route } = subject {
        return of_traffic(metric, &page::endpoint(now, app, method, route)?.traffic);
    }
    of_traffic(metric, &now.gateway.as_ref()?.traffic)
}

fn of_app(metric: Metric, app: &App) -> Option<f64> {
    if metric == Metric::LagP99 {
        app.lag_p99_us.map(units::float)
    } else if metric == Metric::Memory {
        Some(units::float(app.memory_bytes))
    } else if metric == Metric::Cpu {
        Some(app.cpu_percent)
    } else {
        of_traffic(metric, &app.traffic)
    }
}

fn of_traffic(metric: Metric, traffic: &Traffic) -> Option<f64> {
    if metric == Metric::Rate {
        Some(traffic.rate)
    } else if metric == Metric::Errors5xx {
        Some(traffic.errors_5xx)
    } else {
        traffic.latency.map(|latency| latency.p95_us)
    }
}
