//! What a client takes: `Accept-Encoding`, RFC 9110 section 12.5.3.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Codings of one request that are looked at; further ones are passed over.
const MAX_CODINGS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Zstd,
    Brotli,
    Gzip,
}

impl Encoding {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The registered name of the content coding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// By its name in a header or in pando.toml.
    pub fn parse(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("br") || is("brotli") {
            Some(Self::Brotli)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

/// How much a client wants each coding, in thousandths; 0 is not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    zstd: u16,
    brotli: u16,
    gzip: u16,
    /// Taken in any case, where nothing else is left.
    identity: u16,
}

impl Accepted {
    /// Without the header nothing but the plain content is sent: the client may know no coding.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(ACCEPT_ENCODING).iter();
        let parts = lines
            .by_ref()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        Self::parse(parts)
    }

    fn parse<'a>(parts: impl Iterator<Item = &'a str>) -> Self {
        let (mut zstd, mut brotli, mut gzip, mut identity, mut any) =
            (None, None, None, None, None);
        for part in parts.take(MAX_CODINGS) {
            let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
            let name = name.trim();
            let slot = match Encoding::parse(name) {
                Some(Encoding::Zstd) => &mut zstd,
                Some(Encoding::Brotli) => &mut brotli,
                Some(Encoding::Gzip) => &mut gzip,
                None if name.eq_ignore_ascii_case("identity") => &mut identity,
                None if name == "*" => &mut any,
                None => continue,
            };
            *slot = Some(quality(parameters));
        }
        Self {
            zstd: zstd.or(any).unwrap_or(0),
            brotli: brotli.or(any).unwrap_or(0),
            gzip: gzip.or(any).unwrap_or(0),
            identity: identity.unwrap_or(0),
        }
    }

    pub fn quality(self, encoding: Encoding) -> u16 {
        match encoding {
            Encoding::Zstd => self.zstd,
            Encoding::Brotli => self.brotli,
            Encoding::Gzip => self.gzip,
        }
    }

    /// Whether any coding but the plain content is taken.
    pub fn any(self) -> bool {
        self.zstd | self.brotli | self.gzip > 0
    }

    /// The coding with the highest value; of equal ones the first of `offered`. `None`: plain.
    pub fn best(self, offered: impl IntoIterator<Item = Encoding>) -> Option<Encoding> {
        let mut best = None;
        let mut quality = 0;
        for encoding in offered {
            if self.quality(encoding) > quality {
                quality = self.quality(encoding);
                best = Some(encoding);
            }
        }
        best.filter(|_| quality >= self.identity)
    }
}

/// `q=0.5` among parameters, in thousandths. Absent is 1; what is no valid number counts as 0.
fn quality(parameters: &str) -> u16 {
    for parameter in parameters.split(';') {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        if name.trim().eq_ignore_ascii_case("q") {
            return thousandths(value.trim()).unwrap_or(0);
        }
    }
    1000
}

/// RFC 9110 section 12.4.2: `0` or `1` with up to three decimals, at most 1.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = pad(decimals);
    match (whole, fraction) {
        ("0", _) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Up to three decimal digits as thousandths: `5` is 500.
fn pad(decimals: &str) -> u16 {
    let digits = decimals.bytes().map(|byte| u16::from(byte - b'0'));
    digits
        .zip([100, 10, 1])
        .map(|(digit, unit)| digit * unit)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::Encoding::{Brotli, Gzip, Zstd};
    use super::*;

    fn check(header: &str, expected: Option<Encoding>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, header.parse().unwrap());
        assert_eq!(
            Accepted::of(&headers).best([Zstd, Brotli, Gzip]),
            expected,
            "{header}"
        );
    }

    #[test]
    fn negotiation() {
        check("", None);
        check("gzip, deflate, br, zstd", Some(Zstd));
        check("gzip, deflate, br", Some(Brotli));
        check("gzip;q=1.0, br;q=0.9", Some(Gzip));
        check("gzip;q=0.5, br;q=0.5", Some(Brotli));
        check("GZIP", Some(Gzip));
        check("x-gzip", Some(Gzip));
        check("*", Some(Zstd));
        check("*, zstd;q=0", Some(Brotli));
        check("br;q=0, *;q=0.1", Some(Zstd));
        check("gzip;q=0", None);
        check("identity", None);
        check("identity;q=0", None);
        check("identity;q=0, gzip;q=0.1", Some(Gzip));
        check("identity;q=1, gzip;q=0.5", None);
        check("identity;q=0.5, gzip;q=0.5", Some(Gzip));
        check("gzip ; q = 0.001", Some(Gzip));
        check("gzip;q=0.0001", None);
        check("gzip;q=2", None);
        check("gzip;q=", None);
        check("gzip;level=3", Some(Gzip));
        check("deflate, sdch", None);
    }

    #[test]
    fn several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, "br".parse().unwrap());
        headers.append(ACCEPT_ENCODING, "gzip;q=0.3".parse().unwrap());
        let accepted = Accepted::of(&headers);
        assert_eq!(
            (accepted.quality(Brotli), accepted.quality(Gzip)),
            (1000, 300)
        );
        assert!(!Accepted::of(&HeaderMap::new()).any());
    }
}
