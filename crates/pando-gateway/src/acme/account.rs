//! Our account at the authority: made once, kept, restored.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_spec::{Protocol, Secret, UpstreamTls};
use instant_acme::{Account, ExternalAccountKey, NewAccount};

use super::Options;
use super::failure::{Failure, Kind};
use super::http::Http;
use super::store::{Store, StoredAccount};
use crate::tls::{FileSource, client};

/// An account that is open, and for which options it was opened.
pub(super) struct Desk {
    pub account: Account,
    pub http: Http,
    options: Options,
}

impl Desk {
    /// Still the right one after a change of the configuration?
    pub fn serves(&self, options: &Options) -> bool {
        let key = |options: &Options| {
            (
                options.directory.clone(),
                options.email.clone(),
                options.root.clone(),
                options.storage.clone(),
                options.eab.clone(),
            )
        };
        key(&self.options) == key(options)
    }

    pub async fn open(
        options: &Options,
        files: Arc<dyn FileSource>,
        store: &Store,
    ) -> Result<Self, Failure> {
        let root = options.root.clone();
        let tls = blocking(move || {
            let trust = UpstreamTls {
                ca: root,
                ..UpstreamTls::default()
            };
            client::connector(&trust, Protocol::Http1, &*files)
        });
        let tls = tls
            .await?
            .map_err(|problem| Failure::new(Kind::Unreachable, problem.to_string()))?;
        let http = Http::new(tls);
        let account = match enter(options, &http, store).await {
            Ok(account) => account,
            Err(failure) => {
                let retry_after = http.take_retry_after();
                return Err(Failure {
                    retry_after,
                    ..failure
                });
            }
        };
        Ok(Self {
            account,
            http,
            options: options.clone(),
        })
    }
}

async fn enter(options: &Options, http: &Http, store: &Store) -> Result<Account, Failure> {
    let from = store.clone();
    let Some(mut stored) = blocking(move || from.account()).await? else {
        return register(options, http, store).await;
    };
    let builder = Account::builder_with_http(Box::new(http.clone()));
    // What the library gives back is not to be cloned; it goes through the file's own form.
    let text = serde_json::to_vec(&stored.credentials).map_err(instant_acme::Error::from)?;
    let credentials = serde_json::from_slice(&text).map_err(instant_acme::Error::from)?;
    let account = builder.from_credentials(credentials).await?;
    if stored.email != options.email {
        let contact = contact(options);
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        account.update_contacts(&contact).await?;
        stored.email.clone_from(&options.email);
        save(store, stored).await?;
    }
    Ok(account)
}

async fn register(options: &Options, http: &Http, store: &Store) -> Result<Account, Failure> {
    let builder = Account::builder_with_http(Box::new(http.clone()));
    let contact = contact(options);
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let eab = options.eab.as_ref().map(external_key).transpose()?;
    let made = builder.create(&wanted, options.directory.clone(), eab.as_ref());
    let (account, credentials) = made.await?;
    let stored = StoredAccount {
        directory: options.directory.clone(),
        email: options.email.clone(),
        credentials,
    };
    save(store, stored).await?;
    tracing::info!("opened an account at {}", options.directory);
    Ok(account)
}

async fn save(store: &Store, account: StoredAccount) -> Result<(), Failure> {
    let store = store.clone();
    blocking(move || store.save_account(&account))
        .await?
        .map_err(|error| Failure::new(Kind::Unreachable, format!("cannot store it: {error}")))
}

fn contact(options: &Options) -> Option<String> {
    options
        .email
        .as_ref()
        .map(|email| format!("mailto:{email}"))
}

/// RFC 8555, section 7.3.4: the key is base64url.
fn external_key((id, key): &(String, Secret)) -> Result<ExternalAccountKey, Failure> {
    let text = key.expose().trim_end_matches('=');
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Failure::refused("the key of `eab` is not base64url"))?;
    Ok(ExternalAccountKey::new(id.clone(), &bytes))
}

/// File work on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(Kind::Unreachable, error.to_string()))
}
