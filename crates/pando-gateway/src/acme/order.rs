//! One order, from its names to a chain and its key (RFC 8555, section 7.4).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::Method;
use super::account::blocking;
use super::challenges::{Challenges, Offer};
use super::failure::Failure;
use super::site::{identifier, is_ip};

/// Validation, then issuance, each at most so long; authorities need seconds.
const STEP_DEADLINE: Duration = Duration::from_secs(90);
/// All of it, whatever a slow authority does.
const DEADLINE: Duration = Duration::from_secs(300);

/// PEM texts.
pub(super) struct Issued {
    pub chain: String,
    pub key: String,
}

pub(super) async fn order(
    account: &Account,
    names: &[String],
    method: Method,
    challenges: &Arc<Challenges>,
) -> Result<Issued, Failure> {
    let whole = place(account, names, method, challenges);
    let late = |_| Failure::refused(format!("it took more than {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, whole).await.map_err(late)?
}

async fn place(
    account: &Account,
    names: &[String],
    method: Method,
    challenges: &Arc<Challenges>,
) -> Result<Issued, Failure> {
    // TLS-ALPN-01 for addresses needs names of the reverse DNS, which the authorities rarely do.
    let method = match names.iter().any(|name| is_ip(name)) {
        true => Method::Http01,
        false => method,
    };
    let identifiers: Vec<_> = names.iter().map(|name| identifier(name)).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let offers = answer(&mut order, method, challenges).await?;
    let policy = RetryPolicy::new().timeout(STEP_DEADLINE);
    match order.poll_ready(&policy).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) | Err(Error::Api(_)) => return Err(refusal(&mut order).await),
        Err(error) => return Err(error.into()),
    }
    drop(offers);
    let (request, key) = request(names)?;
    order.finalize_csr(&request).await?;
    let chain = order.poll_certificate(&policy).await?;
    Ok(Issued { chain, key })
}

/// Answers every validation that is asked for; they are given until the result is dropped.
async fn answer(
    order: &mut Order,
    method: Method,
    challenges: &Arc<Challenges>,
) -> Result<Vec<Offer>, Failure> {
    let kind = match method {
        Method::Http01 => ChallengeType::Http01,
        Method::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut offers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status @ (AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated) => {
                return Err(Failure::refused(format!("an authorization is {status:?}")));
            }
        }
        let host = authorization.identifier().to_string();
        let offered: Vec<String> = authorization
            .challenges
            .iter()
            .map(|challenge| format!("{:?}", challenge.r#type))
            .collect();
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            let offered = offered.join(", ");
            let why = format!("for {host} the authority offers {offered}, not {kind:?}");
            return Err(Failure::refused(why));
        };
        let (token, key) = (challenge.token.clone(), challenge.key_authorization());
        let (giver, key) = (challenges.clone(), key.as_str().to_owned());
        let offer = blocking(move || giver.offer(method, &host, &token, &key)).await?;
        let cannot = |error| Failure::refused(format!("cannot answer the validation: {error}"));
        offers.push(offer.map_err(cannot)?);
        challenge.set_ready().await?;
    }
    Ok(offers)
}

/// Why the authority did not accept, host by host.
async fn refusal(order: &mut Order) -> Failure {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let host = authorization.identifier().to_string();
        for challenge in &authorization.challenges {
            if let Some(problem) = &challenge.error {
                let detail = problem.detail.as_deref().unwrap_or("no reason given");
                reasons.push(format!("{host}: {detail}"));
            }
        }
    }
    if reasons.is_empty() {
        let stated = order.state().error.as_ref().map(ToString::to_string);
        reasons.push(stated.unwrap_or_else(|| "the authority did not accept the order".into()));
    }
    Failure::refused(reasons.join("; "))
}

/// A request for `names` with a new P-256 key, and the key.
fn request(names: &[String]) -> Result<(Vec<u8>, String), Failure> {
    let failed =
        |error: rcgen::Error| Failure::refused(format!("cannot make the request: {error}"));
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok((request.der().to_vec(), key.serialize_pem()))
}
