//! The files and directories that a gateway needs. One that runs as another user cannot open them
//! all, so its supervisor does, and opens these and no others.

use std::path::{Path, PathBuf};

use crate::{Auth, GatewaySpec, Tls, Upstreams};

/// What is done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathUse {
    /// A file is read.
    Read,
    /// A directory's files are read.
    ReadDir,
    /// A directory of the gateway's own: made if it is not there, mode 0700, and its user's.
    OwnDir,
    /// A file is added to, made if it is not there.
    Append,
}

impl GatewaySpec {
    /// Every path that the configuration names, once, sorted, but for unix sockets; `state` is
    /// the directory for what has no path of its own.
    pub fn paths(&self, state: &Path) -> Vec<(PathBuf, PathUse)> {
        let mut all = vec![(state.to_owned(), PathUse::OwnDir)];
        let mut add = |path: &Path, used: PathUse| all.push((path.to_owned(), used));
        if let Some(path) = &self.access_log.path {
            add(path, PathUse::Append);
        }
        if let Some(disk) = &self.cache_store.disk {
            add(&disk.path, PathUse::OwnDir);
        }
        if let Some(path) = &self.acme.storage {
            add(path, PathUse::OwnDir);
        }
        if let Some(path) = &self.acme.root {
            add(path, PathUse::Read);
        }
        for site in &self.sites {
            if let Some(Tls::Files { cert, key }) = &site.tls {
                add(cert, PathUse::Read);
                add(key, PathUse::Read);
            }
        }
        for route in self.sites.iter().flat_map(|site| &site.routes) {
            if let crate::Action::Files(files) = &route.action {
                add(&files.root, PathUse::ReadDir);
            }
            if let Some(path) = route.protect.auth.as_ref().and_then(auth_file) {
                add(path, PathUse::Read);
            }
            for path in route.action.upstreams().into_iter().flat_map(tls_files) {
                add(path, PathUse::Read);
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn auth_file(auth: &Auth) -> Option<&Path> {
    match auth {
        Auth::Basic(basic) => basic.file.as_deref(),
        Auth::ApiKeys(keys) => keys.file.as_deref(),
        Auth::Jwt(jwt) => jwt
            .jwks
            .as_deref()
            .map(Path::new)
            .filter(|p| p.is_absolute()),
    }
}

fn tls_files(upstreams: &Upstreams) -> impl Iterator<Item = &Path> {
    let client = upstreams.tls.client.as_ref();
    let client = client.into_iter().flat_map(|(cert, key)| [cert, key]);
    let all = upstreams.tls.ca.iter().chain(client);
    all.map(PathBuf::as_path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, ApiKeys, Files, Jwt, PathMatch, Route, Site};

    #[test]
    fn every_path_is_named_once_and_urls_are_none() {
        let mut route = Route::new(
            PathMatch::Prefix("/".into()),
            Action::Files(Files {
                root: "/srv/www".into(),
                index: Vec::new(),
                spa: None,
                cache_control: None,
                precompressed: true,
                fall_through: false,
                dotfiles: false,
            }),
        );
        let mut jwt: Jwt = serde_json::from_str("{}").unwrap();
        jwt.jwks = Some("https://idp.example/keys".into());
        route.protect.auth = Some(Auth::Jwt(jwt.clone()));
        let mut other = route.clone();
        jwt.jwks = Some("/etc/keys.json".into());
        other.protect.auth = Some(Auth::Jwt(jwt));
        let mut third = route.clone();
        let mut keys: ApiKeys = serde_json::from_str("{}").unwrap();
        keys.file = Some("/etc/api-keys".into());
        third.protect.auth = Some(Auth::ApiKeys(keys));
        let mut site = Site::new(["*"], vec![route, other, third]);
        site.tls = Some(Tls::Files {
            cert: "/etc/c.pem".into(),
            key: "/etc/k.pem".into(),
        });
        let spec = GatewaySpec {
            sites: vec![site],
            ..GatewaySpec::default()
        };
        let paths = spec.paths(Path::new("/home/gateway"));
        let names: Vec<_> = paths
            .iter()
            .map(|(path, _)| path.to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "/etc/api-keys",
                "/etc/c.pem",
                "/etc/k.pem",
                "/etc/keys.json",
                "/home/gateway",
                "/srv/www"
            ]
        );
        assert_eq!(paths[4].1, PathUse::OwnDir);
        assert_eq!(paths[5].1, PathUse::ReadDir);
    }
}
