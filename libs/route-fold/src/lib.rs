//! Endpoints out of paths: `/users/17/posts` and `/users/18/posts` are `/users/:id/posts`.
//!
//! What looks like an identifier is replaced, and what is left is kept as a tree of segments, in
//! which siblings beyond [`MAX_SIBLINGS`] become one `*`. The tree and the number of endpoints are
//! bounded, whatever comes: beyond [`Folder::new`]'s limit an endpoint is [`OTHER`].
//!
//! ```text
//! /blog/why-rust  /blog/on-trees  (20 of them)      /blog/and-another -> /blog/*
//! ```
//! Deterministic: the same paths in the same order give the same names.

mod segment;

use segment::Hole;

/// Words below one segment; with one more they are merged.
pub const MAX_SIBLINGS: usize = 20;
/// Further segments of a path are not looked at.
pub const MAX_DEPTH: usize = 12;
/// Nodes of a tree, about: from there on words are merged where one would be added.
const MAX_NODES: usize = 2000;

/// The endpoint of all that found no room.
pub const OTHER: Endpoint = Endpoint(0);

/// A number for an endpoint, good until the next [`Folder::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(u32);

impl Endpoint {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The endpoints of one route.
#[derive(Debug)]
pub struct Folder {
    nodes: Vec<Node>,
    free_nodes: Vec<usize>,
    /// By number of the endpoint; the first is [`OTHER`]'s.
    places: Vec<Place>,
    free_places: Vec<u32>,
    /// Endpoints that the tree has.
    live: usize,
    max: usize,
}

#[derive(Debug, Default)]
struct Node {
    name: Box<str>,
    parent: usize,
    words: Vec<(Box<str>, usize)>,
    holes: [Option<usize>; Hole::COUNT],
    endpoint: Option<Endpoint>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    name: Box<str>,
    /// Its node was merged: it keeps its name until the next [`Folder::settle`].
    orphan: bool,
}

const ROOT: usize = 0;

impl Folder {
    /// With at most `max` endpoints beside [`OTHER`].
    pub fn new(max: usize) -> Self {
        Self {
            nodes: vec![Node::default()],
            free_nodes: Vec::new(),
            places: vec![Place::default()],
            free_places: Vec::new(),
            live: 0,
            max,
        }
    }

    /// The endpoint of a path; what follows `?` or `#` is not looked at.
    pub fn fold(&mut self, path: &str) -> Endpoint {
        self.walk(path, Hole::of)
    }

    /// The endpoint of a name that another folder gave: its holes are holes, and where it merged
    /// this one does too.
    pub fn refold(&mut self, name: &str) -> Endpoint {
        self.walk(name, |segment, digits| {
            Hole::named(segment).or_else(|| Hole::of(segment, digits))
        })
    }

    /// The name of an endpoint; empty for [`OTHER`].
    pub fn name(&self, endpoint: Endpoint) -> &str {
        let place = self.places.get(endpoint.index());
        place.map_or("", |place| &place.name)
    }

    /// All names, in order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| &*place.name)
    }

    /// Numbers of endpoints are below this.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no path has come yet.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Forgets endpoints whose words were merged: what was counted for them has been taken.
    pub fn settle(&mut self) {
        for (number, place) in self.places.iter_mut().enumerate().skip(1) {
            if place.orphan {
                *place = Place::default();
                self.free_places.push(number as u32);
            }
        }
    }

    fn walk(&mut self, path: &str, hole: impl Fn(&str, usize) -> Option<Hole>) -> Endpoint {
        let (mut node, mut depth) = (ROOT, 0);
        let (mut from, mut digits) = (0, 0);
        for (at, byte) in path.bytes().chain([b'?']).enumerate() {
            if byte.is_ascii_digit() {
                digits += 1;
            } else if matches!(byte, b'/' | b'?' | b'#') {
                if at > from && depth < MAX_DEPTH {
                    node = self.child(node, &path[from..at], digits, &hole);
                    depth += 1;
                }
                if byte != b'/' {
                    break;
                }
                (from, digits) = (at + 1, 0);
            }
        }
        match self.nodes[node].endpoint {
            Some(endpoint) => endpoint,
            None => self.place(node),
        }
    }

    fn child(
        &mut self,
        node: usize,
        segment: &str,
        digits: usize,
        hole: impl Fn(&str, usize) -> Option<Hole>,
    ) -> usize {
        let mut words = self.nodes[node].words.iter();
        if let Some((_, known)) = words.find(|(word, _)| **word == *segment) {
            return *known;
        }
        if let Some(hole) = hole(segment, digits) {
            if hole == Hole::Any {
                self.forget_words(node);
            }
            return self.hole(node, hole);
        }
        if let Some(merged) = self.nodes[node].holes[Hole::Any as usize] {
            return merged;
        }
        let nodes = self.nodes.len() - self.free_nodes.len();
        if self.nodes[node].words.len() >= MAX_SIBLINGS || nodes >= MAX_NODES {
            self.forget_words(node);
            return self.hole(node, Hole::Any);
        }
        let child = self.new_node(segment, node);
        self.nodes[node].words.push((segment.into(), child));
        child
    }

    fn hole(&mut self, node: usize, hole: Hole) -> usize {
        if let Some(child) = self.nodes[node].holes[hole as usize] {
            return child;
        }
        let child = self.new_node(hole.name(), node);
        self.nodes[node].holes[hole as usize] = Some(child);
        child
    }

    fn new_node(&mut self, name: &str, parent: usize) -> usize {
        let node = Node {
            name: name.into(),
            parent,
            ..Node::default()
        };
        if let Some(free) = self.free_nodes.pop() {
            self.nodes[free] = node;
            return free;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The names from the root to a node.
    fn path(&self, mut node: usize) -> Box<str> {
        let mut way = Vec::with_capacity(MAX_DEPTH);
        while node != ROOT {
            way.push(&*self.nodes[node].name);
            node = self.nodes[node].parent;
        }
        if way.is_empty() {
            return "/".into();
        }
        let segments = way.iter().rev().flat_map(|name| ["/", name]);
        segments.collect::<String>().into_boxed_str()
    }

    /// The words below a node with all that is below them.
    fn forget_words(&mut self, node: usize) {
        let words = std::mem::take(&mut self.nodes[node].words);
        let mut gone: Vec<usize> = words.into_iter().map(|(_, child)| child).collect();
        while let Some(index) = gone.pop() {
            let node = std::mem::take(&mut self.nodes[index]);
            gone.extend(node.words.iter().map(|(_, child)| *child));
            gone.extend(node.holes.into_iter().flatten());
            self.free_nodes.push(index);
            if let Some(endpoint) = node.endpoint.filter(|endpoint| *endpoint != OTHER) {
                self.places[endpoint.index()].orphan = true;
                self.live -= 1;
            }
        }
    }

    fn place(&mut self, node: usize) -> Endpoint {
        // Twice as many with those that were merged since the last time.
        let free = self.free_places.last().copied();
        let room = free.is_some() || self.places.len() <= 2 * self.max;
        if self.live >= self.max || !room {
            return OTHER;
        }
        let name = self.path(node);
        let place = Place {
            name,
            orphan: false,
        };
        let number = match self.free_places.pop() {
            Some(number) => {
                self.places[number as usize] = place;
                number
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        let endpoint = Endpoint(number);
        self.nodes[node].endpoint = Some(endpoint);
        self.live += 1;
        endpoint
    }
}
