//! The modules of a crate and which of them use which, read from its sources.
//!
//! Every way of naming a module counts: paths from `crate::`, `self::`, `super::`, a child module or an imported name, in `use` and in
//! code, macros included. Names are followed through re-exports to the module that defines them. Test modules are left out.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// A path of names, from the crate's root.
type Names = Vec<String>;

/// More re-exports in a row than any crate has.
const MAX_REEXPORTS: usize = 16;

/// The modules of a crate, each with the modules that it uses. The root is called `crate`, a module `a::b`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// From each module to those that it uses.
    pub edges: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Default)]
struct Module {
    children: BTreeSet<String>,
    /// Imported names, with the path that they stand for.
    imports: BTreeMap<String, Names>,
    /// Paths in `use` declarations and in code.
    paths: Vec<Names>,
    /// Paths of `pub use` declarations.
    reexports: Vec<Names>,
}

impl Graph {
    /// Reads the sources below a directory, the crate's `src`.
    ///
    /// # Panics
    /// Where a file cannot be read or is not Rust.
    pub fn of_directory(directory: &Path) -> Self {
        let mut sources = BTreeMap::new();
        let mut left = vec![directory.to_owned()];
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())).flatten() {
                let path = entry.path();
                if path.is_dir() {
                    left.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                    let name = path.strip_prefix(directory).unwrap_or(&path).to_string_lossy().into_owned();
                    sources.insert(name, text);
                }
            }
        }
        Self::of_sources(&sources)
    }

    /// Reads sources by their path below `src`.
    ///
    /// # Panics
    /// Where a text is not Rust.
    pub fn of_sources(sources: &BTreeMap<String, String>) -> Self {
        let mut modules = BTreeMap::new();
        read(&mut modules, sources, &Vec::new(), "lib");
        let mut graph = Self::default();
        for (name, module) in &modules {
            let mut used: BTreeSet<Names> =
                module.paths.iter().filter_map(|path| owner(&modules, name, path, MAX_REEXPORTS)).collect();
            // Passing a child's names on is not a use of them.
            let reexports = module.reexports.iter().filter_map(|path| owner(&modules, name, path, MAX_REEXPORTS));
            used.extend(reexports.filter(|target| !target.starts_with(name)));
            used.remove(name);
            graph.edges.insert(text(name), used.iter().map(|target| text(target)).collect());
        }
        graph
    }

    /// The groups of modules that use each other, directly or through others. That a module uses the one that it is a part of is left
    /// out: the methods of one type may stand in several files.
    pub fn cycles(&self) -> Vec<BTreeSet<String>> {
        let reached: BTreeMap<&String, BTreeSet<&String>> =
            self.edges.keys().map(|name| (name, self.reached_from(name))).collect();
        let mut cycles: Vec<BTreeSet<String>> = Vec::new();
        for (name, others) in &reached {
            let circle: BTreeSet<String> = others
                .iter()
                .filter(|other| reached.get(*other).is_some_and(|back| back.contains(name)))
                .map(|other| (*other).clone())
                .collect();
            if !circle.is_empty() && !cycles.contains(&circle) {
                cycles.push(circle);
            }
        }
        cycles
    }

    fn reached_from(&self, name: &str) -> BTreeSet<&String> {
        let mut reached = BTreeSet::new();
        let mut left = self.used_beside_its_parents(name);
        while let Some(next) = left.pop() {
            if reached.insert(next) {
                left.extend(self.used_beside_its_parents(next));
            }
        }
        reached
    }

    fn used_beside_its_parents(&self, name: &str) -> Vec<&String> {
        let is_parent = |other: &String| {
            other == "crate" || name.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with("::"))
        };
        self.edges.get(name).into_iter().flatten().filter(|other| !is_parent(other)).collect()
    }

    /// From each top-level module to the others that it, or a module in it, uses. Uses by the root are left out.
    pub fn top_level(&self) -> BTreeMap<String, BTreeSet<String>> {
        let top = |name: &str| name.split("::").next().unwrap_or_default().to_owned();
        let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, used) in self.edges.iter().filter(|(name, _)| *name != "crate") {
            let own = top(name);
            let others: Vec<String> = used.iter().map(|target| top(target)).filter(|other| *other != own).collect();
            modules.entry(own).or_default().extend(others);
        }
        modules
    }
}

fn text(name: &[String]) -> String {
    if name.is_empty() { "crate".to_owned() } else { name.join("::") }
}

/// Reads a module's file and those of its children. `file`: its path without the extension.
fn read(modules: &mut BTreeMap<Names, Module>, sources: &BTreeMap<String, String>, name: &Names, file: &str) {
    let directory = if name.is_empty() { String::new() } else { format!("{file}/") };
    let found = [format!("{file}.rs"), format!("{file}/mod.rs")].into_iter().find_map(|path| sources.get(&path));
    let source = found.unwrap_or_else(|| panic!("no source of module {}", text(name)));
    let tokens = TokenStream::from_str(source).unwrap_or_else(|e| panic!("{file}: {e}"));
    for (child, inline) in scan(modules, name, tokens) {
        if !inline {
            let mut path = name.clone();
            path.push(child.clone());
            read(modules, sources, &path, &format!("{directory}{child}"));
        }
    }
}

/// Reads the tokens of a module. Returns its child modules, and whether each is written in place.
fn scan(modules: &mut BTreeMap<Names, Module>, name: &Names, tokens: TokenStream) -> Vec<(String, bool)> {
    modules.entry(name.clone()).or_default();
    let mut children = Vec::new();
    scan_group(modules, name, tokens, &mut children);
    children
}

fn scan_group(
    modules: &mut BTreeMap<Names, Module>,
    name: &Names,
    tokens: TokenStream,
    children: &mut Vec<(String, bool)>,
) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    let mut is_test = false;
    let mut is_public = false;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                at += 1;
                if let Some(TokenTree::Group(attribute)) = tokens.get(at) {
                    is_test |= attribute.stream().to_string().replace(' ', "") == "cfg(test)";
                    at += 1;
                }
            }
            TokenTree::Ident(word) if word == "pub" => {
                is_public = true;
                at += 1;
                if let Some(TokenTree::Group(group)) = tokens.get(at)
                    && group.delimiter() == Delimiter::Parenthesis
                {
                    at += 1;
                }
            }
            TokenTree::Ident(word) if word == "mod" => {
                let (Some(TokenTree::Ident(child)), Some(end)) = (tokens.get(at + 1), tokens.get(at + 2)) else {
                    at += 1;
                    continue;
                };
                let child = child.to_string();
                let mut path = name.clone();
                path.push(child.clone());
                if !is_test {
                    if let Some(module) = modules.get_mut(name) {
                        module.children.insert(child.clone());
                    }
                    match end {
                        TokenTree::Group(body) => {
                            let inner = scan(modules, &path, body.stream());
                            assert!(
                                inner.iter().all(|(_, inline)| *inline),
                                "{}: a file below an inline module",
                                text(&path)
                            );
                            children.push((child, true));
                        }
                        _ => children.push((child, false)),
                    }
                }
                (is_test, is_public) = (false, false);
                at += 3;
            }
            TokenTree::Ident(word) if word == "use" && !is_punct(tokens.get(at + 1), '<') => {
                let end = (at..tokens.len()).find(|end| is_punct(tokens.get(*end), ';')).unwrap_or(tokens.len());
                if !is_test && let Some(module) = modules.get_mut(name) {
                    let tree = tokens.get(at + 1..end).unwrap_or_default();
                    let mut paths = Vec::new();
                    use_tree(&Vec::new(), tree, &mut paths);
                    for (path, alias) in paths {
                        if let Some(alias) = alias {
                            module.imports.insert(alias, path.clone());
                        }
                        if is_public { module.reexports.push(path) } else { module.paths.push(path) }
                    }
                }
                (is_test, is_public) = (false, false);
                at = end + 1;
            }
            _ if is_test => {
                // The item that the attribute belongs to ends with a body or a semicolon.
                let is_end = |token: &TokenTree| match token {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    TokenTree::Punct(punct) => punct.as_char() == ';',
                    _ => false,
                };
                at = (at..tokens.len()).find(|end| tokens.get(*end).is_some_and(is_end)).unwrap_or(tokens.len()) + 1;
                (is_test, is_public) = (false, false);
            }
            TokenTree::Ident(_) => {
                is_public = false;
                let (path, next) = path_at(&tokens, at);
                let after_dot = at > 0 && is_punct(tokens.get(at - 1), '.');
                let after_colons = at > 1 && is_punct(tokens.get(at - 1), ':') && is_punct(tokens.get(at - 2), ':');
                if !after_dot
                    && !after_colons
                    && let Some(module) = modules.get_mut(name)
                {
                    module.paths.push(path);
                }
                at = next;
            }
            TokenTree::Group(group) => {
                scan_group(modules, name, group.stream(), children);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// The path that begins at a name, and where it ends.
fn path_at(tokens: &[TokenTree], mut at: usize) -> (Names, usize) {
    let mut path = Vec::new();
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        path.push(name.to_string());
        at += 1;
        let colons = is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':');
        if !colons || !matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        at += 2;
    }
    (path, at)
}

/// The paths of a `use` tree, each with the name that it gets here.
fn use_tree(prefix: &Names, tree: &[TokenTree], paths: &mut Vec<(Names, Option<String>)>) {
    let mut path = prefix.clone();
    let mut at = 0;
    loop {
        match tree.get(at) {
            Some(TokenTree::Ident(word)) if word == "as" => {
                let alias = tree.get(at + 1).map(ToString::to_string).filter(|alias| alias != "_");
                return paths.push((path, alias));
            }
            Some(TokenTree::Ident(name)) => {
                path.push(name.to_string());
                at += 1;
            }
            Some(TokenTree::Group(group)) => {
                let parts: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in parts.split(|token| is_punct(Some(token), ',')).filter(|part| !part.is_empty()) {
                    use_tree(&path, part, paths);
                }
                return;
            }
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => return paths.push((path, None)),
            Some(_) => at += 1,
            None => {
                if path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                let alias = path.last().cloned();
                return paths.push((path, alias));
            }
        }
    }
}

/// The module that defines what a path names; `None` where that is outside the crate.
fn owner(modules: &BTreeMap<Names, Module>, from: &Names, path: &[String], left: usize) -> Option<Names> {
    let left = left.checked_sub(1)?;
    let module = modules.get(from)?;
    let (first, mut rest) = path.split_first()?;
    let mut at = match first.as_str() {
        // Alone it names no item: an import gives the root another name.
        "crate" if rest.is_empty() => return None,
        "crate" => Vec::new(),
        "self" => from.clone(),
        "super" => from.split_last()?.1.to_vec(),
        name => match module.imports.get(name) {
            Some(import) if import.as_slice() != path => {
                let import: Names = import.iter().chain(rest).cloned().collect();
                return owner(modules, from, &import, left);
            }
            _ if module.children.contains(name) && !rest.is_empty() => {
                let mut child = from.clone();
                child.push(name.to_owned());
                child
            }
            _ => return None,
        },
    };
    while let Some((name, after)) = rest.split_first() {
        let here = modules.get(&at)?;
        if name == "super" {
            at.pop()?;
        } else if here.children.contains(name) {
            at.push(name.clone());
        } else if let Some(import) = here.imports.get(name) {
            let import: Names = import.iter().chain(after).cloned().collect();
            return owner(modules, &at, &import, left);
        } else {
            break;
        }
        rest = after;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(sources: &[(&str, &str)]) -> Graph {
        let sources = sources.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Graph::of_sources(&sources.collect())
    }

    fn used(graph: &Graph, module: &str) -> Vec<String> {
        graph.edges[module].iter().cloned().collect()
    }

    #[test]
    fn every_way_of_naming_a_module_is_read() {
        let ways = [
            "use crate::b::B;",
            "use crate::{b::{self, B as _}};",
            "use crate::b as other; fn f(_: other::B) {}",
            "use super::b::*;",
            "fn f() -> crate::b::B { loop {} }",
            "fn f() { super::b::f(); }",
            "fn f() { println!(\"{}\", crate::b::N); }",
            "use crate::B;",
            "use crate as root; fn f(_: root::B) {}",
            "fn f() { use crate::b::B; }",
            "fn f(_: &[Option<self::super::b::B>]) {}",
            "mod inner { fn f(_: super::super::b::B) {} } fn g() { inner::f() }",
        ];
        for way in ways {
            let graph = graph(&[
                ("lib.rs", "mod a; mod b; pub use b::B;"),
                ("a.rs", way),
                ("b.rs", "pub struct B; pub const N: u8 = 0; pub fn f() {}"),
            ]);
            let all: BTreeSet<String> =
                ["a", "a::inner"].iter().filter_map(|a| graph.edges.get(*a)).flatten().cloned().collect();
            assert!(all.contains("b"), "{way}: {graph:?}");
            assert!(!all.contains("crate"), "{way}: the root only passes the name on: {graph:?}");
        }
    }

    #[test]
    fn names_that_are_no_modules_are_not_read_as_such() {
        let graph = graph(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "// crate::b\n/// [`crate::b`]\nfn f(b: u8) -> &'static str { let x = y.b; other::b(); \"crate::b\" }",
            ),
            (
                "b.rs",
                "#[cfg(test)] mod tests { use crate::a::f; } #[cfg(test)] fn t() { crate::a::f() } #[cfg(test)] use crate::a;",
            ),
        ]);
        assert!(graph.edges.values().all(BTreeSet::is_empty), "{graph:?}");
    }

    #[test]
    fn reexports_lead_to_the_module_that_defines_a_name() {
        let graph = graph(&[
            ("lib.rs", "mod a; mod parent; use parent::Deep; fn f(_: Deep) {}"),
            ("a.rs", "use crate::parent::{Deep, middle}; fn f() { middle::g() }"),
            ("parent/mod.rs", "mod deep; pub mod middle; pub use middle::Deep;"),
            ("parent/deep.rs", "pub struct Deep;"),
            ("parent/middle.rs", "pub use super::deep::Deep; pub fn g() {}"),
        ]);
        assert_eq!(used(&graph, "a"), ["parent::deep", "parent::middle"]);
        assert_eq!(used(&graph, "crate"), ["parent::deep"]);
        assert_eq!(used(&graph, "parent"), [""; 0]);
        assert_eq!(used(&graph, "parent::middle"), ["parent::deep"], "a sibling's name is used to be passed on");
        assert_eq!(graph.top_level()["a"], BTreeSet::from(["parent".to_owned()]));
        assert_eq!(graph.cycles(), []);
    }

    #[test]
    fn cycles_are_found_however_long_they_are() {
        let graph = graph(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "pub struct B; fn f() { super::c::f() }"),
            ("c.rs", "use crate::{d::D, a}; pub fn f() { a::g() }"),
            ("d.rs", "pub struct D;"),
        ]);
        assert_eq!(graph.cycles(), [["a", "b", "c"].map(str::to_owned).into()]);
    }

    #[test]
    fn a_module_may_use_the_one_that_it_is_a_part_of() {
        let parent = graph(&[
            ("lib.rs", "mod a; const N: u8 = 0; fn f() { a::f() }"),
            ("a/mod.rs", "mod b; mod c; pub fn f() { b::g() } const N: u8 = 0;"),
            ("a/b.rs", "pub fn g() { super::N; crate::N; super::c::h(); }"),
            ("a/c.rs", "pub fn h() { super::f(); }"),
        ]);
        assert_eq!(used(&parent, "a::b"), ["a", "a::c", "crate"]);
        assert_eq!(parent.cycles(), []);
        let siblings = graph(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; mod c; pub use c::C;"),
            ("a/b.rs", "pub struct B; fn f(_: super::C) {}"),
            ("a/c.rs", "pub struct C; fn f(_: super::b::B) {}"),
        ]);
        assert_eq!(siblings.cycles(), [["a::b", "a::c"].map(str::to_owned).into()]);
    }
}
