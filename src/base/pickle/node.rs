//! The content of a pickle, as a graph of inert nodes.

/// Number of a node in its [`Graph`].
pub type Id = u32;

/// One Python value.
#[derive(Debug)]
pub enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian two's complement.
    BigInt(Box<[u8]>),
    Float(f64),
    Str(Box<str>),
    Bytes(Box<[u8]>),
    /// Bytes that were not read: their position in the source of the pickle.
    Stored {
        start: u64,
        len: u64,
    },
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    /// Entries, including those that `SETITEMS` added; later entries win.
    Dict(Vec<(Id, Id)>),
    Set(Vec<Id>),
    /// A class or function by name. Never looked up.
    Global {
        module: Box<str>,
        name: Box<str>,
    },
    /// A call that was not made, with what was added to its result afterwards.
    Call(Box<Call>),
    /// A value that the file keeps outside the pickle, such as a storage.
    Persistent(Id),
}

/// A call that was not made.
#[derive(Debug)]
pub struct Call {
    /// Usually a [`Node::Global`].
    pub callable: Id,
    /// A [`Node::Tuple`] in well-formed files.
    pub args: Id,
    /// Elements that `APPENDS` added.
    pub items: Vec<Id>,
    /// Entries that `SETITEMS` added.
    pub pairs: Vec<(Id, Id)>,
    /// State that `BUILD` set: usually `__dict__`.
    pub state: Option<Id>,
}

/// All values of one pickle.
#[derive(Debug, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
}

impl Graph {
    pub fn node(&self, id: Id) -> &Node {
        // Numbers come only from `Machine::push`, and nodes are never removed.
        &self.nodes[id as usize]
    }

    /// Number of nodes, which are numbered `0..len`.
    pub fn len(&self) -> Id {
        self.nodes.len() as Id
    }

    /// Whether it has no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn str(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            // Python 2 wrote its names as bytes.
            Node::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Elements of a tuple, list or set.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            Node::List(items) | Node::Set(items) => Some(items),
            _ => None,
        }
    }

    /// Module and name of a class or function.
    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.node(id) {
            Node::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// A call to a named function or class: module, name, arguments.
    pub fn call(&self, id: Id) -> Option<(&str, &str, &[Id])> {
        let Node::Call(call) = self.node(id) else { return None };
        let (module, name) = self.global(call.callable)?;
        Some((module, name, self.items(call.args)?))
    }

    /// Entries of a dict or of an object that behaves as one (`OrderedDict`, `defaultdict`, any
    /// subclass): those of its constructor, then those set later. Empty for everything else.
    pub fn pairs(&self, id: Id) -> Vec<(Id, Id)> {
        match self.node(id) {
            Node::Dict(pairs) => pairs.clone(),
            Node::Call(call) => {
                let mut pairs = Vec::new();
                // Constructors of dicts take one or two; a tuple may repeat one dict without limit.
                for &arg in self.items(call.args).unwrap_or_default().iter().take(8) {
                    match self.node(arg) {
                        Node::Dict(given) => pairs.extend(given),
                        // Python 2's OrderedDict([[key, value], …]).
                        Node::List(given) => {
                            pairs.extend(given.iter().filter_map(
                                |&pair| match *self.items(pair)? {
                                    [key, value] => Some((key, value)),
                                    _ => None,
                                },
                            ))
                        }
                        _ => {}
                    }
                }
                pairs.extend(&call.pairs);
                pairs
            }
            _ => Vec::new(),
        }
    }

    /// The value of a string key; the last one if there are several.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let found = |pairs: &[(Id, Id)]| {
            pairs.iter().rev().find(|(k, _)| self.str(*k) == Some(key)).map(|(_, v)| *v)
        };
        match self.node(dict) {
            Node::Dict(pairs) => found(pairs),
            _ => found(&self.pairs(dict)),
        }
    }
}
