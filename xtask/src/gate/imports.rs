//! What a Rust file imports from its own crate.
//!
//! Tokens are read, not syntax trees: a path within a macro (`bail!("{}", crate::words::size(n))`)
//! is a dependency like any other, and no parser of Rust sees into macros.

use super::source::Token;

/// Path from the crate's root: `["a", "b"]` is `crate::a::b`.
pub(super) type ModulePath = Vec<String>;

/// What one file says, tests left out.
#[derive(Debug, Default)]
pub(super) struct Imports {
    pub(super) paths: Vec<Import>,
    /// Modules that the file declares, itself not within an inline one.
    pub(super) modules: Vec<String>,
    /// The names that `use` brings in, outside inline modules.
    pub(super) names: Vec<Name>,
}

/// A path within the crate that some module mentions.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) from: ModulePath,
    /// Empty for everything in the root.
    pub(super) path: ModulePath,
    pub(super) line: usize,
}

/// `use path as name`, or `use path::*` without a name.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: Option<String>,
    pub(super) path: ModulePath,
}

/// Reads the file of `module`.
pub(super) fn of_file(tokens: &[Token], module: ModulePath) -> Imports {
    let depth = module.len();
    let mut scan = Scan { tokens, at: 0, module, depth, braces: vec![], found: Imports::default() };
    while scan.at < tokens.len() {
        scan.step();
    }
    scan.found
}

struct Scan<'t> {
    tokens: &'t [Token],
    at: usize,
    /// The module that `at` is in, inline ones included.
    module: ModulePath,
    /// How many segments the file's own module has.
    depth: usize,
    /// For each open brace, whether it is an inline module's.
    braces: Vec<bool>,
    found: Imports,
}

impl Scan<'_> {
    fn step(&mut self) {
        match self.text(0) {
            "#" => self.attributes(),
            "mod" if self.text(2) == "{" => {
                self.declare();
                self.module.push(self.text(1).to_owned());
                self.braces.push(true);
                self.at += 3;
            }
            "mod" if self.text(2) == ";" => {
                self.declare();
                self.at += 3;
            }
            "{" => {
                self.braces.push(false);
                self.at += 1;
            }
            "}" => {
                if self.braces.pop() == Some(true) {
                    self.module.pop();
                }
                self.at += 1;
            }
            // `use<'a>` in a return type says which lifetimes it captures.
            "use" if self.text(1) != "<" => {
                self.at += 1;
                let absolute = self.text(0) == ":";
                self.at += if absolute { 2 } else { 0 };
                self.tree(&mut Vec::new(), absolute);
            }
            "crate" | "self" | "super" if self.separator(1) && !self.after_separator() => {
                self.path()
            }
            _ => self.at += 1,
        }
    }

    /// The token `ahead` of the current one; empty after the last.
    fn text(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| &token.text)
    }

    fn separator(&self, ahead: usize) -> bool {
        self.text(ahead) == ":" && self.text(ahead + 1) == ":"
    }

    fn after_separator(&self) -> bool {
        self.at >= 2 && self.tokens[self.at - 2..self.at].iter().all(|token| token.text == ":")
    }

    fn declare(&mut self) {
        if self.module.len() == self.depth {
            self.found.modules.push(self.text(1).to_owned());
        }
    }

    /// At `#`: passes over what is compiled for tests only, and over the `#` of other attributes.
    fn attributes(&mut self) {
        if self.text(1) == "!" {
            let whole_file = self.is_test(self.at + 2);
            self.at = if whole_file { self.tokens.len() } else { self.at + 1 };
            return;
        }
        let (mut at, mut test) = (self.at, false);
        while self.token_is(at, "#") && self.token_is(at + 1, "[") {
            test |= self.is_test(at + 1);
            at = self.closing(at + 1) + 1;
        }
        if !test {
            self.at += 1;
            return;
        }
        self.at = at;
        self.skip_item();
    }

    fn token_is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.text == text)
    }

    /// Whether the attribute whose bracket opens at `at` is `cfg(test)` or `cfg(all(test, …))`.
    fn is_test(&self, at: usize) -> bool {
        let begins = |words: &[&str]| (at..).zip(words).all(|(at, word)| self.token_is(at, word));
        begins(&["[", "cfg", "(", "test", ")"]) || begins(&["[", "cfg", "(", "all", "(", "test"])
    }

    /// Where the bracket that opens at `open` closes.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len()
    }

    /// Passes over one item, to its semicolon or closing brace.
    fn skip_item(&mut self) {
        while self.at < self.tokens.len() {
            match self.text(0) {
                ";" => return self.at += 1,
                "{" => return self.at = self.closing(self.at) + 1,
                // A field or a statement without one, at the end of its block.
                ")" | "]" | "}" => return,
                "(" | "[" => self.at = self.closing(self.at) + 1,
                _ => self.at += 1,
            }
        }
    }

    /// A branch of a `use`, up to its comma, closing brace or semicolon.
    fn tree(&mut self, prefix: &mut Vec<String>, external: bool) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let length = prefix.len();
        loop {
            match self.text(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(0), "}" | "") {
                        self.tree(prefix, external);
                        self.at += usize::from(self.text(0) == ",");
                    }
                    self.at += 1;
                    break;
                }
                "*" => {
                    self.at += 1;
                    self.import(prefix, None, external, line);
                    break;
                }
                ":" => self.at += 1,
                _ => {
                    prefix.push(self.text(0).to_owned());
                    self.at += 1;
                    if !self.separator(0) {
                        let name = (self.text(0) == "as").then(|| self.text(1).to_owned());
                        self.at += if name.is_some() { 2 } else { 0 };
                        let last = prefix.iter().rev().find(|part| *part != "self").cloned();
                        self.import(prefix, name.or(last), external, line);
                        break;
                    }
                }
            }
        }
        prefix.truncate(length);
    }

    /// A path outside `use`, at its `crate`, `self` or `super`.
    fn path(&mut self) {
        let line = self.tokens[self.at].line;
        let mut parts = vec![self.text(0).to_owned()];
        self.at += 1;
        while self.separator(0) && is_name(self.text(2)) {
            parts.push(self.text(2).to_owned());
            self.at += 3;
        }
        if let Some(path) = self.resolve(&parts).filter(|path| !path.is_empty()) {
            self.found.paths.push(Import { from: self.module.clone(), path, line });
        }
    }

    fn import(&mut self, parts: &[String], name: Option<String>, external: bool, line: usize) {
        if external {
            return;
        }
        let path = self.resolve(parts);
        if self.module.len() == self.depth {
            // Without `crate` and the like a name is a module of this file or another crate's.
            let path = path.clone().unwrap_or_else(|| [&*self.module, parts].concat());
            self.found.names.push(Name { name, path });
        }
        if let Some(path) = path {
            self.found.paths.push(Import { from: self.module.clone(), path, line });
        }
    }

    /// The path from the crate's root; `None` if it does not say that it is in this crate.
    fn resolve(&self, parts: &[String]) -> Option<ModulePath> {
        let mut base = match parts.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        for part in parts {
            match part.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::gate::source;

    fn of(text: &str, module: &[&str]) -> Imports {
        let source = source::parse(Path::new("a.rs"), text).unwrap();
        of_file(&source.tokens, module.iter().map(|part| (*part).to_owned()).collect())
    }

    /// `from > path:line`, the crate's root as nothing.
    fn paths(text: &str, module: &[&str]) -> Vec<String> {
        let paths = of(text, module).paths;
        let shown = |i: Import| format!("{} > {}:{}", i.from.join("."), i.path.join("."), i.line);
        paths.into_iter().map(shown).collect()
    }

    #[test]
    fn braces_and_relative_paths_are_resolved() {
        let text = "use crate::{a::{self, B}, c as d};\nuse super::{e, super::f::*};\n\
                    use self::g::H;\nuse std::fmt;\nuse ::a::x;";
        let expected = ["x.y > a:1", "x.y > a.B:1", "x.y > c:1", "x.y > x.e:2", "x.y > f:2"];
        assert_eq!(paths(text, &["x", "y"])[..5], expected);
        assert_eq!(paths(text, &["x", "y"])[5..], ["x.y > x.y.g.H:3"]);
    }

    #[test]
    fn paths_in_code_and_macros_count_and_those_in_text_do_not() {
        let text = "// crate::no\nfn f() { m!(crate::a::b(1)); let x: super::C<u8> = \"crate::no\"; }\n\
                    mod inner {\n    fn g() { super::super::d() }\n}\nfn h() { self::own(); self.x }";
        let expected = ["x > a.b:2", "x > C:2", "x.inner > d:4", "x > x.own:6"];
        assert_eq!(paths(text, &["x"]), expected);
    }

    #[test]
    fn what_only_tests_compile_does_not_count() {
        let text = "#[cfg(test)]\nuse crate::{a};\n#[cfg(test)]\nmod tests { use crate::b; }\n\
                    #[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod c;\n#[cfg(test)] mod d;\n\
                    #[cfg(test)]\nfn f(x: [u8; 3]) { crate::e() }\n#[derive(Debug)]\nstruct S(crate::f::G);\n\
                    #[cfg(not(test))]\nuse crate::h;";
        assert_eq!(paths(text, &["x"]), ["x > f.G:12", "x > h:14"]);
    }

    #[test]
    fn the_root_tells_its_modules_and_names() {
        let found = of("mod a;\npub mod b { pub mod c {} }\npub use a::{X, y::Z as W};", &[]);
        assert_eq!(found.modules, ["a", "b"]);
        let names: Vec<_> = found
            .names
            .iter()
            .map(|n| format!("{} = {}", n.name.as_deref().unwrap_or("*"), n.path.join(".")))
            .collect();
        assert_eq!(names, ["X = a.X", "W = a.y.Z"]);
    }
}
