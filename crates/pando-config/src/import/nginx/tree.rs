//! Directives with their blocks, files included in place.

use std::path::{Path, PathBuf};

use super::lexer::{self, Kind, Token};
use crate::fs::FileSystem;
use crate::problem::{Problem, Refusal};

const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Files of one configuration, itself included.
const MAX_FILES: usize = 256;
const MAX_INCLUDE_DEPTH: usize = 8;
const MAX_BLOCK_DEPTH: usize = 16;
const MAX_DIRECTIVES: usize = 100_000;
const MAX_ARGS: usize = 4096;

/// Where a directive stands: which file of the tree, and the line, 1-based.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub file: usize,
    pub line: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub name: String,
    pub args: Vec<String>,
    pub block: Option<Vec<Directive>>,
    pub place: Place,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub files: Vec<PathBuf>,
    pub directives: Vec<Directive>,
}

impl Directive {
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// What stands in its block.
    pub fn inner(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As it was written, without its block.
    pub fn show(&self) -> String {
        let mut text = self.name.clone();
        for arg in &self.args {
            text.push(' ');
            text.push_str(arg);
        }
        text
    }
}

impl Tree {
    pub fn find(&self, name: &str) -> Option<&Directive> {
        self.directives
            .iter()
            .find(|directive| directive.name == name)
    }

    /// The directory of the first file: relative paths start there.
    pub fn dir(&self) -> &Path {
        let first = self.files.first().and_then(|file| file.parent());
        first.unwrap_or(Path::new("/"))
    }
}

pub(super) fn read(path: &Path, fs: &dyn FileSystem) -> Result<Tree, Box<Problem>> {
    let mut reader = Reader {
        fs,
        tree: Tree::default(),
        count: 0,
    };
    let directives = reader.file(path, 0)?;
    reader.tree.directives = directives;
    Ok(reader.tree)
}

struct Reader<'f> {
    fs: &'f dyn FileSystem,
    tree: Tree,
    count: usize,
}

type Parsed = Result<Vec<Directive>, Box<Problem>>;

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Parsed {
        let refuse = |what: &str, why: String, fix: &str| {
            Box::new(Problem::of_file(path, Refusal::new(what, why, fix)))
        };
        let bytes = self.fs.read(path, MAX_FILE_BYTES + 1).map_err(|error| {
            refuse(
                "cannot read this file",
                error.to_string(),
                "check the path and its permissions",
            )
        })?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let why = "a configuration is not that large".to_owned();
            return Err(refuse(
                "the file is larger than 1 MiB",
                why,
                "check the path",
            ));
        }
        let text = String::from_utf8_lossy(&bytes);
        let file = self.tree.files.len();
        self.tree.files.push(path.to_owned());
        let tokens = lexer::tokens(&text).map_err(|broken| at(path, broken.line, broken.what))?;
        let mut tokens = tokens.into_iter();
        let directives = self.block(&mut tokens, (file, 1), depth, 0)?;
        Ok(directives)
    }

    /// Directives up to the end of the file, or of the block that was opened on this line if
    /// `level` is not 0.
    fn block(
        &mut self,
        tokens: &mut std::vec::IntoIter<Token>,
        (file, opened): (usize, usize),
        depth: usize,
        level: usize,
    ) -> Parsed {
        let mut directives = Vec::new();
        let mut words: Vec<String> = Vec::new();
        let mut start = opened;
        loop {
            let Some(token) = tokens.next() else {
                if !words.is_empty() {
                    return Err(self.at(file, start, "a directive has no `;` behind it"));
                }
                if level > 0 {
                    return Err(self.at(file, opened, "a block is never closed"));
                }
                return Ok(directives);
            };
            match token.kind {
                Kind::Word(word) => {
                    if words.is_empty() {
                        start = token.line;
                    }
                    words.push(word);
                    if words.len() > MAX_ARGS {
                        return Err(self.at(file, start, "a directive has too many arguments"));
                    }
                    continue;
                }
                Kind::Close if words.is_empty() && level > 0 => return Ok(directives),
                Kind::Close => return Err(self.at(file, token.line, "a `}` is out of place")),
                Kind::Open | Kind::End if words.is_empty() => {
                    return Err(self.at(file, token.line, "there is no directive before this"));
                }
                Kind::Open | Kind::End => {}
            }
            self.count += 1;
            if self.count > MAX_DIRECTIVES {
                return Err(self.at(file, start, "there are more than 100000 directives"));
            }
            let block = if token.kind == Kind::Open && words[0].ends_with("_by_lua_block") {
                skip(tokens);
                Some(Vec::new())
            } else if token.kind == Kind::Open {
                if level >= MAX_BLOCK_DEPTH {
                    return Err(self.at(file, start, "blocks are nested too deep"));
                }
                Some(self.block(tokens, (file, start), depth, level + 1)?)
            } else {
                None
            };
            let name = words.remove(0);
            let directive = Directive {
                name,
                args: std::mem::take(&mut words),
                block,
                place: Place { file, line: start },
            };
            if directive.name == "include" && directive.block.is_none() {
                directives.extend(self.include(&directive, depth)?);
            } else {
                directives.push(directive);
            }
        }
    }

    /// The directives of all files that are meant. A file that is not there is one only where no
    /// pattern was given, as in nginx; tables of media types are left out.
    fn include(&mut self, directive: &Directive, depth: usize) -> Parsed {
        let place = directive.place;
        let written = directive.arg(0);
        if written.ends_with("mime.types") {
            return Ok(vec![directive.clone()]);
        }
        if depth >= MAX_INCLUDE_DEPTH {
            return Err(self.at(place.file, place.line, "files include each other too deep"));
        }
        let pattern = self.tree.dir().join(written);
        let mut directives = Vec::new();
        let found = if written.contains(['*', '?']) {
            self.glob(&pattern)
        } else {
            vec![pattern]
        };
        for path in found {
            if self.tree.files.len() >= MAX_FILES {
                return Err(self.at(place.file, place.line, "more than 256 files are included"));
            }
            if !self.fs.is_file(&path) {
                // Told with the other things that are not translated.
                directives.push(directive.clone());
                continue;
            }
            directives.extend(self.file(&path, depth + 1)?);
        }
        Ok(directives)
    }

    /// Files whose path matches, `*` and `?` within one name, in order.
    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::new()];
        for part in pattern.components() {
            let name = part.as_os_str().to_string_lossy();
            if !name.contains(['*', '?']) {
                for path in &mut found {
                    path.push(part);
                }
                continue;
            }
            let mut next = Vec::new();
            for dir in &found {
                let names = self.fs.names(dir);
                let wanted = names.iter().filter(|one| {
                    // Hidden names are only meant where the pattern says the dot.
                    matches(&name, one) && (name.starts_with('.') || !one.starts_with('.'))
                });
                next.extend(wanted.map(|one| dir.join(one)));
                next.truncate(MAX_FILES + 1);
            }
            found = next;
        }
        found.retain(|path| self.fs.is_file(path));
        found.sort();
        found
    }

    fn at(&self, file: usize, line: usize, what: &str) -> Box<Problem> {
        at(&self.tree.files[file], line, what)
    }
}

/// The rest of a block that holds another language.
fn skip(tokens: &mut std::vec::IntoIter<Token>) {
    let mut open = 1_usize;
    for token in tokens {
        match token.kind {
            Kind::Open => open += 1,
            Kind::Close => open -= 1,
            Kind::Word(_) | Kind::End => {}
        }
        if open == 0 {
            return;
        }
    }
}

fn at(path: &Path, line: usize, what: &str) -> Box<Problem> {
    let why = "this is not nginx's syntax, so nothing of it can be trusted";
    let fix = "`nginx -t` says more; correct it and import again";
    let mut problem = Problem::of_file(path, Refusal::new(what, why, fix));
    problem.line = line;
    problem.column = 1;
    Box::new(problem)
}

/// Whether a name matches a pattern of `*` and `?`. Linear in the two but for one star at a time.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p).is_some_and(|c| *c == '?' || *c == name[n])
            && pattern.get(p) != Some(&'*')
        {
            (p, n) = (p + 1, n + 1);
        } else if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (p, n) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemoryFs;

    fn show(directives: &[Directive]) -> String {
        let one = |directive: &Directive| match &directive.block {
            Some(block) => format!("{} {{ {} }}", directive.show(), show(block)),
            None => format!("{};", directive.show()),
        };
        directives.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn read_text(text: &str, fs: MemoryFs) -> Result<String, Box<Problem>> {
        read(
            Path::new("/etc/nginx/nginx.conf"),
            &fs.with("/etc/nginx/nginx.conf", text),
        )
        .map(|tree| show(&tree.directives))
    }

    #[test]
    fn blocks_and_includes() {
        let fs = MemoryFs::new()
            .with("/etc/nginx/sites/b.conf", "b 2;")
            .with("/etc/nginx/sites/a.conf", "a 1;")
            .with("/etc/nginx/sites/.hidden.conf", "h 1;")
            .with("/etc/nginx/one", "one; include sites/a.*;");
        let text = "http { include sites/*.conf; include one; include none/*; include mime.types; x \"y z\" { } }";
        let expect = "http { a 1; b 2; one; a 1; include mime.types; x y z {  } }";
        assert_eq!(read_text(text, fs).unwrap(), expect);
    }

    #[test]
    fn what_is_no_configuration() {
        for (text, line, what) in [
            ("a", 1, "a directive has no `;`"),
            ("\na {", 2, "a block is never closed"),
            ("a;\n}", 2, "a `}` is out of place"),
            (";", 1, "there is no directive"),
            ("a \"b", 1, "a quote is never closed"),
            (
                "include nginx.conf;",
                1,
                "files include each other too deep",
            ),
            (&"a { ".repeat(40), 1, "blocks are nested too deep"),
        ] {
            let problem = read_text(text, MemoryFs::new()).expect_err(text);
            assert!(problem.what.starts_with(what), "{text}: {problem}");
            assert_eq!(problem.line, line, "{text}");
        }
    }

    #[test]
    fn patterns_of_names() {
        for (pattern, name, expect) in [
            ("*", "", true),
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbx", true),
            ("*a*b*", "xxbxxax", false),
            ("*.conf", "*.conf", true),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }
}
