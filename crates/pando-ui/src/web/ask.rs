//! Single questions and orders to the daemon, each over a connection of its own.

use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use monitor_spec::ask::{self, Ask, Query};
use pando_control::api::{Answer, Problem, Request, ScaleChange, Select};
use pando_control::{CallError, Client};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::respond;

/// Of an answer to a question.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);
/// Of an order: a reload waits until every worker is ready.
const ORDER_LIMIT: Duration = Duration::from_secs(15 * 60);

/// What the page may order, as its JSON.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    Reload { app: String },
    Restart { app: String },
    Scale { app: String, to: u32 },
}

pub type Asked = Result<Value, (StatusCode, Problem)>;

/// Several series, in the order of the questions.
///
/// # Errors
/// The first that has no answer.
pub async fn series(home: &Path, queries: Vec<Query>) -> Asked {
    let mut all = Vec::with_capacity(queries.len());
    for query in queries {
        let metric = query.metric;
        let series = question(home, Ask::Series(query)).await?;
        all.push(json!({ "metric": metric, "series": series }));
    }
    Ok(Value::Array(all))
}

/// One question to the metrics.
///
/// # Errors
/// It has no answer.
pub async fn question(home: &Path, ask: Ask) -> Asked {
    let answer = call(home, Request::Monitor { ask }, QUESTION_LIMIT).await?;
    let Answer::Monitor(answer) = answer else {
        return Err(unexpected());
    };
    let value = match *answer {
        ask::Answer::Now(now) => serde_json::to_value(now),
        ask::Answer::Series(series) => serde_json::to_value(series),
        ask::Answer::Endpoints(endpoints) => serde_json::to_value(endpoints),
        ask::Answer::Events(events) => serde_json::to_value(events),
        ask::Answer::Text(_)
        | ask::Answer::Alerts(_)
        | ask::Answer::Settings(_)
        | ask::Answer::Done => return Err(unexpected()),
    };
    value.map_err(|_| unexpected())
}

/// An order; answers what was done, for a person.
///
/// # Errors
/// It was not done, or nobody knows.
pub async fn order(home: &Path, order: Order) -> Asked {
    let one = |app: String| Select::Names(vec![app]);
    let request = match order {
        Order::Reload { app } => Request::Reload {
            select: one(app),
            spec: None,
        },
        Order::Restart { app } => Request::Restart {
            select: one(app),
            spec: None,
        },
        Order::Scale { app, to } => Request::Scale {
            select: one(app),
            change: ScaleChange::To(to),
        },
    };
    match call(home, request, ORDER_LIMIT).await? {
        Answer::Changed { text, .. } => Ok(json!({ "done": text })),
        Answer::Version { .. }
        | Answer::Apps(_)
        | Answer::Env(_)
        | Answer::Specs(_)
        | Answer::Gateway(_)
        | Answer::Monitor(_)
        | Answer::End => Err(unexpected()),
    }
}

async fn call(
    home: &Path,
    request: Request,
    limit: Duration,
) -> Result<Answer, (StatusCode, Problem)> {
    let called = timeout(limit, async {
        let mut client = Client::connect(home).await?;
        client.call(request, |_| {}).await
    });
    match called.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(CallError::Failed(problem))) => Err((StatusCode::CONFLICT, *problem)),
        Ok(Err(error)) => Err((StatusCode::BAD_GATEWAY, respond::call_problem(error))),
        Err(_) => {
            let problem = Problem {
                place: "daemon".into(),
                what: "the daemon took too long to answer".into(),
                why: format!("nothing came within {} s", limit.as_secs()),
                fix: "`pando ls` shows what is so".into(),
                exit_code: 1,
                ..Problem::default()
            };
            Err((StatusCode::GATEWAY_TIMEOUT, problem))
        }
    }
}

fn unexpected() -> (StatusCode, Problem) {
    let error = CallError::Protocol("it answers another question".into());
    (StatusCode::BAD_GATEWAY, respond::call_problem(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        let parse = |text| serde_json::from_str::<Order>(text);
        let scale = parse(r#"{"action":"scale","app":"api","to":3}"#).unwrap();
        let expect = Order::Scale {
            app: "api".into(),
            to: 3,
        };
        assert_eq!(scale, expect);
        for wrong in [
            r#"{"action":"delete","app":"api"}"#,
            r#"{"action":"scale","app":"api","to":-1}"#,
            r#"{"action":"reload","app":"api","spec":{}}"#,
            "{}",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
