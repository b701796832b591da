//! Calls to the control socket. Each is a task that sends what it hears as messages; the queue is
//! bounded, and what finds no room is told as a number or comes again a second later.

use std::path::PathBuf;
use std::time::Duration;

use app_spec::AppSpec;
use monitor_spec::ask::{self, Ask, Query};
use pando_control::api::{Answer, Frame, LogQuery, Request, Select};
use pando_control::{CallError, Client};
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

use super::model::{Change, LOG_LINES_ASKED, LogScope, Message};

/// Between two looks for a daemon that is away.
const RETRY: Duration = Duration::from_secs(1);
/// How far back events are asked for.
const EVENTS_BACK_MS: i64 = 86_400_000;
/// For an answer of figures. New ones are asked for every few seconds: without a limit calls to a
/// daemon that is stuck would pile up.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

/// An app's spec as its file has it now; `None`: it is the same.
pub type Renew = fn(&AppSpec) -> Result<Option<AppSpec>, String>;
/// A log line as a person reads it.
pub type Readable = fn(&str) -> String;

/// Who calls: the home, and where messages go.
#[derive(Clone)]
pub struct Caller {
    pub home: PathBuf,
    pub messages: Sender<Message>,
}

impl Caller {
    async fn client(&self) -> Result<Client, String> {
        let client = Client::connect_within(&self.home, CONNECT_PATIENCE).await;
        client.map_err(|error| error.to_string())
    }

    async fn ask(&self, ask: Ask) -> Result<ask::Answer, String> {
        let mut client = self.client().await?;
        let call = client.call(Request::Monitor { ask }, |_| {});
        let answer = timeout(ANSWER_PATIENCE, call)
            .await
            .map_err(|_| format!("no answer within {ANSWER_PATIENCE:?}"))?;
        if let Answer::Monitor(answer) = answer.map_err(|error| in_words(&error))? {
            Ok(*answer)
        } else {
            Err("the daemon answers another question".into())
        }
    }

    /// Pictures, for ever; through every end of the daemon.
    pub async fn watch(self) {
        loop {
            let why = match self.client().await {
                Ok(client) => self.pictures(client).await,
                Err(why) => why,
            };
            if self.messages.send(Message::Lost(why)).await.is_err() {
                return;
            }
            sleep(RETRY).await;
        }
    }

    /// Until the stream ends; why it did.
    async fn pictures(&self, mut client: Client) -> String {
        let request = Request::Monitor { ask: Ask::Watch };
        let each = |frame| {
            if let Frame::Monitor(answer) = frame
                && let ask::Answer::Now(now) = *answer
            {
                // A full queue costs one picture.
                let _ = self.messages.try_send(Message::Picture(now));
            }
        };
        match client.call(request, each).await {
            Ok(_) => "the daemon ended the stream".into(),
            Err(error) => in_words(&error),
        }
    }

    /// What happened before we came.
    pub async fn events(self, now_ms: i64) {
        let ask = Ask::Events {
            app: String::new(),
            from_ms: now_ms - EVENTS_BACK_MS,
            to_ms: now_ms,
        };
        if let Ok(ask::Answer::Events(events)) = self.ask(ask).await {
            // The receiver is gone only when the program ends.
            let _ = self.messages.send(Message::Events(events)).await;
        }
    }

    pub async fn series(self, id: u64, of: usize, query: Query) {
        let series = match self.ask(Ask::Series(query)).await {
            Ok(ask::Answer::Series(series)) => series,
            Ok(_) | Err(_) => Vec::new(),
        };
        let _ = self.messages.send(Message::Series { id, of, series }).await;
    }

    pub async fn logs(self, id: u64, scope: LogScope, readable: Readable) {
        let query = LogQuery {
            apps: scope.app.into_iter().collect(),
            worker: scope.worker,
            lines: LOG_LINES_ASKED,
            follow: true,
            ..LogQuery::default()
        };
        loop {
            if let Ok(mut client) = self.client().await {
                let mut skipped = 0;
                let each = |frame| {
                    if let Frame::Log(mut line) = frame {
                        line.text = readable(&line.text);
                        skipped = self.offer(Message::Log { id, line }, skipped);
                    }
                };
                let request = Request::Logs {
                    query: query.clone(),
                };
                if let Err(CallError::Failed(problem)) = client.call(request, each).await {
                    let _ = self
                        .messages
                        .send(Message::Changed(Err(problem.what)))
                        .await;
                    return;
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Sends a line if there is room; returns how many lines are to be told as lost.
    fn offer(&self, message: Message, skipped: u64) -> u64 {
        let told = skipped == 0
            || self
                .messages
                .try_send(Message::LogsSkipped(skipped))
                .is_ok();
        let left = if told { 0 } else { skipped };
        if self.messages.try_send(message).is_ok() {
            left
        } else {
            left + 1
        }
    }

    pub async fn change(self, change: Change, renew: Renew) {
        let result = self.make(change, renew).await;
        let _ = self.messages.send(Message::Changed(result)).await;
    }

    async fn make(&self, change: Change, renew: Renew) -> Result<String, String> {
        // A person waits for it: a supervisor that is being replaced may take its time.
        let client = Client::connect(&self.home).await;
        let mut client = client.map_err(|error| error.to_string())?;
        let only = |app: String| Select::Names(vec![app]);
        let request = match change {
            Change::Reload(app) => Request::Reload {
                spec: fresh(&mut client, &app, renew).await?,
                select: only(app),
            },
            Change::Restart(app) => Request::Restart {
                spec: fresh(&mut client, &app, renew).await?,
                select: only(app),
            },
            Change::Stop(app) => Request::Stop { select: only(app) },
            Change::Start(app) => Request::StartKnown { select: only(app) },
            Change::Scale(app, change) => Request::Scale {
                select: only(app),
                change,
            },
        };
        match client.call(request, |_| {}).await {
            Ok(Answer::Changed { text, .. }) => Ok(text.join("; ")),
            Ok(_) => Err("the daemon answers another question".into()),
            Err(error) => Err(in_words(&error)),
        }
    }
}

/// As `pando reload` does: the file is the truth.
async fn fresh(
    client: &mut Client,
    app: &str,
    renew: Renew,
) -> Result<Option<Box<AppSpec>>, String> {
    let select = Select::Names(vec![app.to_owned()]);
    let answer = client.call(Request::Specs { select }, |_| {}).await;
    let Answer::Specs(specs) = answer.map_err(|error| in_words(&error))? else {
        return Err("the daemon answers another question".into());
    };
    let spec = specs.iter().find(|spec| spec.name == app);
    let renewed = spec.map(renew).transpose()?.flatten();
    Ok(renewed.map(Box::new))
}

/// In one line: what is wrong, and why.
fn in_words(error: &CallError) -> String {
    match error {
        CallError::Failed(problem) => {
            let parts = [&problem.place, &problem.what, &problem.why];
            let said = parts.into_iter().filter(|part| !part.is_empty());
            said.cloned().collect::<Vec<_>>().join(": ")
        }
        CallError::Broken
        | CallError::Version { .. }
        | CallError::Connect(_)
        | CallError::Protocol(_) => error.to_string(),
    }
}
