//! Paths with parameters: `/users/{id}/posts`, `/files/{owner}/*`.

use super::Params;

#[derive(Debug)]
enum Segment {
    Fixed(String),
    Param(String),
}

#[derive(Debug)]
pub struct Pattern {
    segments: Vec<Segment>,
    /// Ends with `/*`: whatever follows belongs to it.
    open: bool,
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        let (text, open) = match text.strip_suffix("/*") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let segments = text.split('/').skip(1).map(|segment| {
            match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                Some(name) => Segment::Param(name.to_owned()),
                None => Segment::Fixed(segment.to_owned()),
            }
        });
        Self {
            segments: segments.collect(),
            open,
        }
    }

    pub fn matches(&self, path: &str) -> Option<Params> {
        let mut params = Params::new();
        let mut parts = path.split('/').skip(1);
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Fixed(text) if text == part => {}
                Segment::Param(name) if !part.is_empty() => {
                    params.push((name.clone(), part.to_owned()));
                }
                Segment::Fixed(_) | Segment::Param(_) => return None,
            }
        }
        let more = parts.next().is_some();
        (more == self.open).then_some(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_bound_to_names() {
        for (pattern, path, bound) in [
            ("/users/{id}", "/users/7", Some(vec![("id", "7")])),
            ("/users/{id}", "/users/", None),
            ("/users/{id}", "/users/7/posts", None),
            ("/users/{id}/*", "/users/7/posts/1", Some(vec![("id", "7")])),
            ("/users/{id}/*", "/users/7", None),
            ("/{a}/{b}", "/x/y", Some(vec![("a", "x"), ("b", "y")])),
        ] {
            let got = Pattern::new(pattern).matches(path);
            let bound = bound.map(|pairs| {
                let owned = pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
                owned.collect::<Params>()
            });
            assert_eq!(got, bound, "{pattern} {path}");
        }
    }
}
