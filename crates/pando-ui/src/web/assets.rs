//! The page, embedded, and compressed once at the start.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;

struct Source {
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! sources {
    ($($name:literal)*) => {
        &[$(Source {
            name: $name,
            bytes: include_bytes!(concat!("../../assets/", $name)),
        },)*]
    };
}

const INDEX: &str = "index.html";
const SOURCES: &[Source] = sources![
    "index.html"
    "style.css"
    "icon.svg"
    "actions.js"
    "app.js"
    "charts.js"
    "data.js"
    "format.js"
    "live.js"
    "parts.js"
    "picker.js"
    "route.js"
    "state.js"
    "table.js"
    "theme.js"
    "pages/app.js"
    "pages/endpoint.js"
    "pages/events.js"
    "pages/gateway.js"
    "pages/logs.js"
    "pages/overview.js"
    "pages/worker.js"
    "vendor/preact-htm.js"
    "vendor/uplot.js"
    "vendor/uplot.css"
    "vendor/LICENSES.txt"
];

/// One file of the page.
pub struct Asset {
    name: &'static str,
    pub media: &'static str,
    pub plain: Bytes,
    pub gzip: Bytes,
}

pub struct Assets(Vec<Asset>);

impl Assets {
    /// All files, compressed. Takes some 20 ms.
    ///
    /// # Errors
    /// Writing to memory fails, which it does not.
    pub fn load() -> std::io::Result<Self> {
        let each = SOURCES.iter().map(|source| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(source.bytes)?;
            Ok(Asset {
                name: source.name,
                media: media(source.name),
                plain: Bytes::from_static(source.bytes),
                gzip: gzip.finish()?.into(),
            })
        });
        Ok(Self(each.collect::<std::io::Result<_>>()?))
    }

    /// The empty name is the page itself.
    pub fn find(&self, name: &str) -> Option<&Asset> {
        let name = if name.is_empty() { INDEX } else { name };
        self.0.iter().find(|asset| asset.name == name)
    }
}

fn media(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some(_) | None => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the whole page before compression.
    const MAX_BYTES: usize = 300 * 1000;

    #[test]
    fn the_page_is_small() {
        let all: usize = SOURCES.iter().map(|source| source.bytes.len()).sum();
        assert!(all < MAX_BYTES, "{all} bytes");
        let assets = Assets::load().unwrap();
        for asset in &assets.0 {
            assert!(asset.gzip.len() < asset.plain.len(), "{}", asset.name);
        }
        assert_eq!(assets.find("").unwrap().name, INDEX);
        assert!(assets.find("nothing").is_none());
    }

    #[test]
    fn every_file_of_the_page_is_embedded_and_nothing_comes_from_elsewhere() {
        let own = SOURCES.iter().filter(|s| !s.name.starts_with("vendor/"));
        for source in own {
            let text = std::str::from_utf8(source.bytes).unwrap();
            for (before, quote) in [("from \"", '"'), ("src=\"", '"'), ("href=\"", '"')] {
                for piece in text.split(before).skip(1) {
                    let name = piece.split(quote).next().unwrap();
                    let is_link = name.is_empty() || name.starts_with(['#', '$', '{']);
                    let name = resolve(source.name, name);
                    let known = SOURCES.iter().any(|s| s.name == name);
                    assert!(is_link || known, "{}: {name}", source.name);
                }
            }
            assert!(!text.contains("innerHTML"), "{}", source.name);
            assert!(!text.contains("dangerously"), "{}", source.name);
        }
    }

    fn resolve(from: &str, name: &str) -> String {
        let dir = from.rsplit_once('/').map_or("", |(dir, _)| dir);
        match (name.strip_prefix("../"), name.strip_prefix("./")) {
            (Some(up), _) => up.to_owned(),
            (None, Some(here)) if !dir.is_empty() => format!("{dir}/{here}"),
            (None, Some(here)) => here.to_owned(),
            (None, None) => name.to_owned(),
        }
    }
}
