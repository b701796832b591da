//! What the cache tells of one request, and what it must be told of a fetch.

/// Marks an answer that the gateway made itself because the upstream failed (502, 504): a stored
/// one may stand in for it. An extension of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFailed;

/// How a request was answered; for the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// Not a request for the cache.
    Bypass,
    /// From the store, fresh.
    Hit,
    /// From the origin.
    Miss,
    /// From the store, after the origin said that it is still right.
    Revalidated,
    /// From the origin, in place of a stored one that was stale.
    Expired,
    /// From the store although stale, while it is fetched anew.
    Updating,
    /// From the store although stale: the origin failed, or the client takes it so.
    Stale,
    /// What another request fetched at the same time.
    Collapsed,
    /// 504: the client wanted a stored answer only.
    Absent,
}

impl CacheStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Revalidated => "revalidated",
            Self::Expired => "expired",
            Self::Updating => "updating",
            Self::Stale => "stale",
            Self::Collapsed => "collapsed",
            Self::Absent => "absent",
        }
    }
}
