//! The stack machine of pickle protocols 0 to 5, without the ability to import and call.

use std::{collections::HashMap, io::Read};

use anyhow::{Context, Result, bail, ensure};

use super::node::{Call, Graph, Id, Node};

/// Maximum number of values. The pickle of a real checkpoint has some ten thousand values, with a
/// training log perhaps a million. Anything beyond this is a bomb.
const MAX_NODES: usize = 1 << 23;
/// Longest pickle read, for the same reason.
const MAX_BYTES: u64 = 256 << 20;
/// Longest name of a class, module or line of text.
const MAX_NAME: usize = 1 << 16;

/// Runs one pickle read from `R`.
#[derive(Debug)]
pub struct Machine<R> {
    reader: R,
    /// Number of bytes read so far; errors report it as the position.
    position: u64,
    graph: Graph,
    stack: Vec<Id>,
    /// Stack heights at each open MARK.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Whether byte strings are skipped and recorded as [`Node::Stored`].
    leaves_bytes: bool,
    /// Number of skipped bytes.
    left: u64,
    /// Total bytes of names copied from strings: one string may name any number of classes.
    copied: usize,
}

impl<R: Read> Machine<R> {
    /// Reads one pickle, up to and including its STOP, from a buffered reader.
    ///
    /// Returns the graph, its root, and the number of bytes read.
    ///
    /// # Errors
    /// If the bytes are not a well-formed pickle or exceed the limits; the message names the offset.
    pub fn run(reader: R) -> Result<(Graph, Id, u64)> {
        Self::start(reader, false)
    }

    /// Like [`Machine::run`], but skips byte strings: NumPy keeps its arrays in them.
    ///
    /// # Errors
    /// Same errors as [`Machine::run`].
    pub fn run_leaving_bytes(reader: R) -> Result<(Graph, Id, u64)> {
        Self::start(reader, true)
    }

    fn start(reader: R, leaves_bytes: bool) -> Result<(Graph, Id, u64)> {
        let mut machine = Self {
            reader,
            position: 0,
            graph: Graph::default(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            leaves_bytes,
            left: 0,
            copied: 0,
        };
        loop {
            let at = machine.position;
            let opcode = machine.byte().context("the pickle ends before its STOP")?;
            if opcode == b'.' {
                let root = machine.pop()?;
                return Ok((machine.graph, root, machine.position));
            }
            machine
                .step(opcode)
                .with_context(|| format!("pickle opcode {:?} at byte {at}", char::from(opcode)))?;
            let held = machine.stack.len() + machine.marks.len() + machine.memo.len();
            ensure!(held <= MAX_NODES, "its stack and memo hold more than {MAX_NODES} values");
            let read = machine.position - machine.left;
            ensure!(read <= MAX_BYTES, "the pickle is longer than {MAX_BYTES} bytes");
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            // FRAME is only a hint for buffering.
            0x95 => drop(self.bytes(8)?),
            0x80 => ensure!(self.byte()? <= 5, "the protocol is newer than 5"),
            b'0' => self.pop_or_unmark()?,
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | 0x8b | b'G' | b'I' | b'L' | b'F' => {
                self.number(opcode)?;
            }
            b'X' | 0x8c | 0x8d | b'B' | b'C' | 0x8e | 0x96 | b'U' | b'T' | b'S' | b'V' => {
                self.text(opcode)?;
            }
            b']' | b'l' | b'a' | b'e' | b'}' | b'd' | b's' | b'u' | 0x8f | 0x90 | 0x91 | b')'
            | b't' | 0x85 | 0x86 | 0x87 => self.container(opcode)?,
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.memoize(opcode)?,
            b'c' | 0x93 | b'i' | b'o' | b'R' | 0x81 | 0x92 | b'b' => self.object(opcode)?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id))?;
            }
            b'P' => {
                let line = self.line()?;
                let id = self.push(Node::Str(line.into()))?;
                self.pop()?;
                self.push(Node::Persistent(id))?;
            }
            _ => bail!("this opcode does not belong in a checkpoint"),
        }
        Ok(())
    }

    fn number(&mut self, opcode: u8) -> Result<()> {
        let node = match opcode {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'K' => Node::Int(i64::from(self.byte()?)),
            b'M' => Node::Int(i64::from(u16::from_le_bytes(self.array()?))),
            b'J' => Node::Int(i64::from(i32::from_le_bytes(self.array()?))),
            0x8a => {
                let len = u64::from(self.byte()?);
                self.long(len)?
            }
            0x8b => {
                let len = i32::from_le_bytes(self.array()?);
                self.long(u64::try_from(len).context("a negative length")?)?
            }
            b'G' => Node::Float(f64::from_be_bytes(self.array()?)),
            b'F' => Node::Float(self.line()?.trim().parse()?),
            _ => match self.line()?.trim().trim_end_matches('L') {
                "00" if opcode == b'I' => Node::Bool(false),
                "01" if opcode == b'I' => Node::Bool(true),
                digits => Node::Int(digits.parse()?),
            },
        };
        self.push(node)?;
        Ok(())
    }

    fn long(&mut self, len: u64) -> Result<Node> {
        let bytes = self.bytes(len)?;
        if bytes.len() > 8 {
            return Ok(Node::BigInt(bytes.into()));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        word[..bytes.len()].copy_from_slice(&bytes);
        Ok(Node::Int(i64::from_le_bytes(word)))
    }

    fn text(&mut self, opcode: u8) -> Result<()> {
        if matches!(opcode, b'S' | b'V') {
            let line = self.line()?;
            let text = line.trim_matches(|c| c == '\'' || c == '"');
            self.push(Node::Str(text.into()))?;
            return Ok(());
        }
        let len = match opcode {
            0x8c | b'C' | b'U' => u64::from(self.byte()?),
            b'X' | b'B' | b'T' => u64::from(u32::from_le_bytes(self.array()?)),
            _ => u64::from_le_bytes(self.array()?),
        };
        if self.leaves_bytes && matches!(opcode, b'B' | b'C' | 0x8e | 0x96) {
            let start = self.position;
            self.pass_over(len)?;
            self.push(Node::Stored { start, len })?;
            return Ok(());
        }
        let bytes = self.bytes(len)?;
        let node = match opcode {
            b'X' | 0x8c | 0x8d => {
                // Python writes lone surrogates; names of tensors never hold them.
                Node::Str(String::from_utf8_lossy(&bytes).into())
            }
            // Python 2's str: usually text, otherwise NumPy's raw data.
            b'U' | b'T' => match String::from_utf8(bytes) {
                Ok(text) => Node::Str(text.into()),
                Err(error) => Node::Bytes(error.into_bytes().into()),
            },
            _ => Node::Bytes(bytes.into()),
        };
        self.push(node)?;
        Ok(())
    }

    fn container(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b']' => drop(self.push(Node::List(Vec::new()))?),
            b'}' => drop(self.push(Node::Dict(Vec::new()))?),
            0x8f => drop(self.push(Node::Set(Vec::new()))?),
            b')' => drop(self.push(Node::Tuple(Box::default()))?),
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))?;
            }
            0x91 => {
                let items = self.pop_mark()?;
                self.push(Node::Set(items))?;
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Node::Dict(in_pairs(&items)?))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items.into()))?;
            }
            0x85..=0x87 => {
                let len = usize::from(opcode - 0x84);
                let at = self.stack.len().checked_sub(len).context("the stack is too short")?;
                ensure!(at >= self.floor(), "the stack is too short");
                let items = self.stack.split_off(at);
                self.push(Node::Tuple(items.into()))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[(key, value)])?;
            }
            _ => {
                let items = self.pop_mark()?;
                self.set_items(&in_pairs(&items)?)?;
            }
        }
        Ok(())
    }

    fn extend(&mut self, new: &[Id]) -> Result<()> {
        match self.top_node()? {
            Node::List(items) | Node::Set(items) => items.extend(new),
            Node::Call(call) => call.items.extend(new),
            _ => bail!("elements are added to something that is not a list"),
        }
        Ok(())
    }

    fn set_items(&mut self, new: &[(Id, Id)]) -> Result<()> {
        match self.top_node()? {
            Node::Dict(pairs) => pairs.extend(new),
            Node::Call(call) => call.pairs.extend(new),
            _ => bail!("keys are set in something that is not a dict"),
        }
        Ok(())
    }

    fn memoize(&mut self, opcode: u8) -> Result<()> {
        let key = match opcode {
            b'q' | b'h' => u64::from(self.byte()?),
            b'r' | b'j' => u64::from(u32::from_le_bytes(self.array()?)),
            b'p' | b'g' => self.line()?.trim().parse()?,
            _ => self.memo.len() as u64,
        };
        if matches!(opcode, b'h' | b'j' | b'g') {
            let id = *self.memo.get(&key).with_context(|| format!("memo {key} is empty"))?;
            self.stack.push(id);
        } else {
            let top = self.top()?;
            self.memo.insert(key, top);
        }
        Ok(())
    }

    fn object(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.push(Node::Global { module: module.into(), name: name.into() })?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let part = |id| self.graph.str(id).context("the name of a class is not a string");
                let (module, name) = (part(module)?, part(name)?);
                let len = module.len() + name.len();
                ensure!(len <= MAX_NAME, "a name is longer than {MAX_NAME} bytes");
                self.copied += len;
                ensure!(
                    self.copied as u64 <= MAX_BYTES,
                    "its classes' names take more than {MAX_BYTES} bytes"
                );
                let (module, name) = (module.into(), name.into());
                self.push(Node::Global { module, name })?;
            }
            b'i' => {
                let module = self.line()?;
                let name = self.line()?;
                let args = self.pop_mark()?;
                let callable =
                    self.create(Node::Global { module: module.into(), name: name.into() })?;
                self.call(callable, args)?;
            }
            b'o' => {
                let mut args = self.pop_mark()?;
                ensure!(!args.is_empty(), "an object has no class");
                let callable = args.remove(0);
                self.call(callable, args)?;
            }
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.push(Node::Call(Box::new(new_call(callable, args))))?;
            }
            0x92 => {
                // Keyword arguments of `__new__` say nothing about weights.
                let (_kwargs, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.push(Node::Call(Box::new(new_call(callable, args))))?;
            }
            _ => {
                let state = self.pop()?;
                if let Node::Call(call) = self.top_node()? {
                    call.state = Some(state);
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, callable: Id, args: Vec<Id>) -> Result<()> {
        let args = self.create(Node::Tuple(args.into()))?;
        self.push(Node::Call(Box::new(new_call(callable, args))))?;
        Ok(())
    }

    fn create(&mut self, node: Node) -> Result<Id> {
        ensure!(
            self.graph.nodes.len() < MAX_NODES,
            "the pickle holds more than {MAX_NODES} values"
        );
        let id = self.graph.nodes.len() as Id;
        self.graph.nodes.push(node);
        Ok(id)
    }

    fn push(&mut self, node: Node) -> Result<Id> {
        let id = self.create(node)?;
        self.stack.push(id);
        Ok(id)
    }

    /// Stack height protected by the innermost MARK.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id> {
        ensure!(self.stack.len() > self.floor(), "the stack is too short");
        self.stack.pop().context("the stack is empty")
    }

    fn pop_or_unmark(&mut self) -> Result<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let height = self.marks.pop().context("there is no MARK")?;
        Ok(self.stack.split_off(height))
    }

    fn top(&self) -> Result<Id> {
        ensure!(self.stack.len() > self.floor(), "the stack is empty");
        self.stack.last().copied().context("the stack is empty")
    }

    fn top_node(&mut self) -> Result<&mut Node> {
        let top = self.top()?;
        Ok(&mut self.graph.nodes[top as usize])
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        self.reader.read_exact(&mut array).context("the pickle is cut off")?;
        self.position += N as u64;
        Ok(array)
    }

    /// The next `len` bytes; memory grows with the actual data, not with the claimed length.
    fn bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        ensure!(
            len <= MAX_BYTES && self.position - self.left + len <= MAX_BYTES,
            "the pickle is longer than {MAX_BYTES} bytes"
        );
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(len).read_to_end(&mut bytes)?;
        ensure!(read as u64 == len, "{len} bytes are announced, {read} are left");
        self.position += len;
        Ok(bytes)
    }

    fn pass_over(&mut self, len: u64) -> Result<()> {
        let passed = std::io::copy(&mut (&mut self.reader).take(len), &mut std::io::sink())?;
        ensure!(passed == len, "{len} bytes are announced, {passed} are left");
        self.position += len;
        self.left += len;
        Ok(())
    }

    /// Text up to the next newline, without it.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                byte => line.push(byte),
            }
            ensure!(line.len() <= MAX_NAME, "a name is longer than {MAX_NAME} bytes");
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

fn new_call(callable: Id, args: Id) -> Call {
    Call { callable, args, items: Vec::new(), pairs: Vec::new(), state: None }
}

fn in_pairs(items: &[Id]) -> Result<Vec<(Id, Id)>> {
    ensure!(items.len().is_multiple_of(2), "a key has no value");
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bytes: &[u8]) -> Result<(Graph, Id, u64)> {
        Machine::run(bytes)
    }

    #[test]
    fn protocol_2_containers_and_memo() {
        // {'a': [1, -2, True], 'b': <the same list>}
        let pickle = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xff\x88eX\x01\x00\x00\x00bq\x03h\x02u.rest";
        let (graph, root, read) = run(pickle).unwrap();
        assert_eq!(read as usize, pickle.len() - 4);
        let (a, b) = (graph.get(root, "a").unwrap(), graph.get(root, "b").unwrap());
        assert_eq!(a, b);
        let items = graph.items(a).unwrap();
        assert_eq!((graph.int(items[0]), graph.int(items[1])), (Some(1), Some(-2)));
        assert!(matches!(graph.node(items[2]), Node::Bool(true)));
    }

    #[test]
    fn calls_stay_inert() {
        // os.system('echo'), the classic.
        let (graph, root, _) = run(b"cos\nsystem\n(S'echo'\ntR.").unwrap();
        let (module, name, args) = graph.call(root).unwrap();
        assert_eq!((module, name, graph.str(args[0])), ("os", "system", Some("echo")));
    }

    #[test]
    fn a_list_may_hold_itself() {
        let (graph, root, _) = run(b"\x80\x02]q\x00h\x00a.").unwrap();
        assert_eq!(graph.items(root).unwrap(), [root]);
    }

    #[test]
    fn one_long_text_does_not_name_classes_without_end() {
        let pickle = |len: usize, classes: usize| {
            let mut bytes = b"\x80\x04X".to_vec();
            bytes.extend((len as u32).to_le_bytes());
            bytes.extend(vec![b'a'; len]);
            bytes.push(0x94);
            bytes.extend(b"h\0h\0\x93".repeat(classes));
            bytes.push(b'.');
            bytes
        };
        assert!(run(&pickle(30_000, 3)).is_ok());
        let error = format!("{:#}", run(&pickle(40_000, 1)).unwrap_err());
        assert!(error.contains("a name is longer"), "{error}");
        let error = format!("{:#}", run(&pickle(30_000, 5000)).unwrap_err());
        assert!(error.contains("its classes' names take more than"), "{error}");
    }

    #[test]
    fn malformed_pickles_are_errors() {
        for (pickle, word) in [
            (&b""[..], "ends before its STOP"),
            (b"K", "cut off"),
            (b".", "too short"),
            (b"(.", "too short"),
            (b"h\x07.", "memo 7 is empty"),
            (b"e.", "no MARK"),
            (b"K\x01(K\x02e.", "not a list"),
            (b"}(K\x02u.", "no value"),
            (b"B\xff\xff\xff\xff.", "longer than"),
            (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "longer than"),
            (b"B\x00\x00\x00\x08abc.", "announced"),
            (b"\x80\x09.", "newer than 5"),
            (b"\xff", "does not belong in a checkpoint"),
            (b"Inot a number\n.", "invalid digit"),
        ] {
            let error = format!("{:#}", run(pickle).unwrap_err());
            assert!(error.contains(word), "{pickle:?}: {error}");
        }
    }
}
