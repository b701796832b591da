//! The one task that keeps certificates: looks, orders, stores, hands over to the handshakes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::account::{Desk, blocking};
use super::challenges::Challenges;
use super::failure::{Failure, Kind};
use super::order::{Issued, order};
use super::store::Store;
use super::watched::Watched;
use super::{Method, Options, Wanted};
use crate::problem::Problem;
use crate::tls::{Certificates, FileSource};

/// Orders under way at once: one that waits for a validation must not hold up all others.
const MAX_ORDERS: usize = 4;

pub struct Keeper {
    certificates: Arc<Certificates>,
    files: Arc<dyn FileSource>,
    challenges: Arc<Challenges>,
    seen: watch::Receiver<Wanted>,
    /// By the site's hosts.
    sites: HashMap<Vec<String>, Watched>,
    desk: Option<Desk>,
    /// Of the last turn; another storage or directory begins anew.
    options: Option<Options>,
}

type Placed = (Vec<String>, Result<Issued, Failure>);

impl Keeper {
    pub(super) fn new(
        certificates: Arc<Certificates>,
        files: Arc<dyn FileSource>,
        challenges: Arc<Challenges>,
        seen: watch::Receiver<Wanted>,
    ) -> Self {
        Self {
            certificates,
            files,
            challenges,
            seen,
            sites: HashMap::new(),
            desk: None,
            options: None,
        }
    }

    /// Runs until the last [`super::Acme`] is dropped. May be dropped at any moment.
    pub async fn run(mut self) {
        loop {
            let wanted = self.seen.borrow_and_update().clone();
            let wait = match &wanted.options {
                Some(options) if !wanted.sites.is_empty() => {
                    Some(self.turn(options, &wanted.sites).await)
                }
                Some(_) | None => None,
            };
            let rest = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.seen.changed() => if changed.is_err() { return },
                () = rest => {}
            }
        }
    }

    /// Does what is due; how long nothing else is.
    async fn turn(&mut self, options: &Options, sites: &[Vec<String>]) -> Duration {
        self.reconcile(options, sites);
        match self.work(options).await {
            Ok(wait) => wait,
            Err(failure) => {
                let what = format!("cannot use the storage {}", options.storage.display());
                let fix = "let the gateway's user write there, or set `storage` in [gateway.acme]";
                tracing::error!("gateway.acme: {what}: {}; {fix}", failure.why);
                for hosts in self.sites.keys() {
                    let place = format!("site {}", hosts[0]);
                    let problem = Problem::new(place, &what, &failure.why, fix);
                    self.certificates.install(hosts, None, Some(problem));
                }
                options.pace.unreachable.0
            }
        }
    }

    fn reconcile(&mut self, options: &Options, sites: &[Vec<String>]) {
        let same = self.options.as_ref().is_some_and(|old| {
            old.storage == options.storage && old.directory == options.directory
        });
        if !same {
            self.sites.clear();
        }
        self.options = Some(options.clone());
        if self.desk.as_ref().is_some_and(|desk| !desk.serves(options)) {
            self.desk = None;
        }
        self.sites.retain(|hosts, _| sites.contains(hosts));
        for hosts in sites.iter().filter(|hosts| !hosts.is_empty()) {
            let new = || Watched::new(hosts, fastrand::f64());
            self.sites.entry(hosts.clone()).or_insert_with(new);
        }
    }

    /// An error is the storage's.
    async fn work(&mut self, options: &Options) -> Result<Duration, Failure> {
        let (root, directory) = (options.storage.clone(), options.directory.clone());
        let opened = blocking(move || Store::open(&root, &directory)).await?;
        let store = opened.map_err(|error| Failure::refused(error.to_string()))?;
        self.challenges.share(Some(store.challenges()));
        self.refresh(&store, options).await?;
        if self.due(options).is_empty() {
            return Ok(self.rest(options));
        }
        let locking = store.clone();
        let lock = blocking(move || locking.lock()).await?;
        let Some(_lock) = lock.map_err(|error| Failure::refused(error.to_string()))? else {
            return Ok(options.pace.locked);
        };
        // Before the lock was ours another process may have done the work.
        self.refresh(&store, options).await?;
        let due = self.due(options);
        if !due.is_empty() {
            self.order_all(options, &store, due).await?;
            self.refresh(&store, options).await?;
        }
        Ok(self.rest(options))
    }

    /// Takes over what the storage has.
    async fn refresh(&mut self, store: &Store, options: &Options) -> Result<(), Failure> {
        let mut sites = std::mem::take(&mut self.sites);
        let (store, options) = (store.clone(), options.clone());
        let certificates = self.certificates.clone();
        self.sites = blocking(move || {
            for (hosts, site) in &mut sites {
                let news = site.refresh(&store, &options);
                if news || site.served().is_some() && !certificates.has_issued(hosts) {
                    certificates.install(hosts, site.served(), site.problem(&options));
                }
            }
            sites
        })
        .await?;
        Ok(())
    }

    fn due(&self, options: &Options) -> Vec<Vec<String>> {
        let now = SystemTime::now();
        let due = self.sites.iter();
        due.filter(|(_, site)| site.due_at(options).is_some_and(|at| at <= now))
            .map(|(hosts, _)| hosts.clone())
            .take(MAX_ORDERS)
            .collect()
    }

    fn rest(&self, options: &Options) -> Duration {
        let now = SystemTime::now();
        let due = self.sites.values().filter_map(|site| site.due_at(options));
        let wait = due
            .min()
            .map(|at| at.duration_since(now).unwrap_or_default());
        wait.map_or(options.pace.look, |wait| wait.min(options.pace.look))
    }

    async fn order_all(
        &mut self,
        options: &Options,
        store: &Store,
        due: Vec<Vec<String>>,
    ) -> Result<(), Failure> {
        for hosts in &due {
            if let Some(site) = self.sites.get_mut(hosts) {
                site.tries.begun(SystemTime::now());
                site.save_tries(store).await?;
            }
        }
        if self.desk.is_none() {
            match Desk::open(options, self.files.clone(), store).await {
                Ok(desk) => self.desk = Some(desk),
                Err(failure) => {
                    for hosts in &due {
                        self.failed(options, store, hosts, &failure).await?;
                    }
                    return Ok(());
                }
            }
        }
        let mut under_way = self.place(options, due);
        while let Some(placed) = under_way.join_next().await {
            let Ok((hosts, placed)) = placed else {
                continue;
            };
            match placed {
                Ok(issued) => self.issued(options, store, &hosts, issued).await?,
                Err(failure) => self.failed(options, store, &hosts, &failure).await?,
            }
        }
        Ok(())
    }

    fn place(&self, options: &Options, due: Vec<Vec<String>>) -> JoinSet<Placed> {
        let mut under_way = JoinSet::new();
        let Some(desk) = &self.desk else {
            return under_way;
        };
        for hosts in due {
            let Some(site) = self.sites.get(&hosts) else {
                continue;
            };
            let (account, http) = (desk.account.clone(), desk.http.clone());
            let challenges = self.challenges.clone();
            let names = site.names.clone();
            let method = method(options, site.tries.failures);
            under_way.spawn(async move {
                let result = match method {
                    None => Err(Failure::refused(
                        "nothing listens that the authority could ask",
                    )),
                    Some(method) => order(&account, &names, method, &challenges).await,
                };
                let retry_after = http.take_retry_after();
                let result = result.map_err(|failure| Failure {
                    retry_after,
                    ..failure
                });
                (hosts, result)
            });
        }
        under_way
    }

    async fn issued(
        &mut self,
        options: &Options,
        store: &Store,
        hosts: &[String],
        issued: Issued,
    ) -> Result<(), Failure> {
        let Some(site) = self.sites.get_mut(hosts) else {
            return Ok(());
        };
        tracing::info!(
            "site {}: got a certificate for {}",
            hosts[0],
            site.names.join(", ")
        );
        site.tries.succeeded(SystemTime::now());
        site.take(&issued);
        let (certificate, problem) = (site.certificate.clone(), site.problem(options));
        let (to, names) = (store.clone(), site.names.clone());
        let (certificates, owner) = (self.certificates.clone(), hosts.to_vec());
        let kept = blocking(move || {
            // Served even if it cannot be stored.
            certificates.install(&owner, certificate, problem);
            to.save_certificate(&names, &issued.chain, &issued.key)
        });
        kept.await?
            .map_err(|error| Failure::refused(error.to_string()))?;
        site.save_tries(store).await
    }

    async fn failed(
        &mut self,
        options: &Options,
        store: &Store,
        hosts: &[String],
        failure: &Failure,
    ) -> Result<(), Failure> {
        if failure.no_account {
            // The authority was set up anew; a new account is opened at the next try.
            self.desk = None;
            let store = store.clone();
            blocking(move || store.forget_account()).await?;
        }
        let Some(site) = self.sites.get_mut(hosts) else {
            return Ok(());
        };
        let kind = match failure.no_account {
            true => Kind::Unreachable,
            false => failure.kind,
        };
        let (why, retry_after) = (failure.why.clone(), failure.retry_after);
        site.tried_here();
        site.tries.failed(SystemTime::now(), kind, why, retry_after);
        let problem = site.problem(options);
        if let Some(problem) = &problem {
            tracing::warn!("{problem}");
        }
        let (certificates, owner) = (self.certificates.clone(), hosts.to_vec());
        blocking(move || certificates.install(&owner, None, problem)).await?;
        site.save_tries(store).await
    }
}

/// The first, and after each failure the next.
fn method(options: &Options, failures: u32) -> Option<Method> {
    let count = u32::try_from(options.methods.len()).ok()?;
    let turn = failures.checked_rem(count)?;
    options.methods.get(turn as usize).copied()
}
