//! The modules of a crate form a tree, not a knot.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    path::Path,
};

use super::{
    graph::{self, Graph},
    layers::{FILE, Layers},
    manifests::Member,
    source::Source,
    tree::Tree,
};

/// One fault for each group of modules that import each other, with one circle of it.
pub(super) fn faults(
    members: &[Member],
    layers: &Layers,
    tree: &Tree,
    sources: &[Source],
) -> Vec<String> {
    let mut faults = Vec::new();
    for member in members {
        let (graph, incomplete) = graph::of_crate(member, tree, sources);
        faults.extend(incomplete);
        let knots = knots(&graph);
        let known = layers.get(&member.name).map_or(&[][..], |layer| &layer.known_cycles);
        let covers = |known: &[String], knot: &BTreeSet<&str>| {
            knot.iter().all(|module| known.iter().any(|name| name == module))
        };
        let folder = member.crate_root.parent().unwrap_or(Path::new(""));
        // The files of one folder are read together; what crosses folders is structure.
        let crosses_folders = |knot: &BTreeSet<&str>| {
            knot.iter().any(|module| {
                sources.iter().any(|source| source.path.starts_with(folder.join(module)))
            })
        };
        for knot in knots.iter().filter(|knot| crosses_folders(knot)) {
            if !known.iter().any(|known| covers(known, knot)) {
                faults.push(report(member, knot, &graph));
            }
        }
        for known in known.iter().filter(|known| !knots.iter().any(|knot| covers(known, knot))) {
            faults.push(format!(
                "{FILE}: {}: {} no longer import each other. Delete this entry of `known_cycles`.",
                member.name,
                known.join(", ")
            ));
        }
    }
    faults
}

/// Largest sets of two or more modules each of which reaches all others.
fn knots(graph: &Graph) -> Vec<BTreeSet<&str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|module| (module.as_str(), reach(graph, module))).collect();
    let mut knots: Vec<BTreeSet<&str>> = Vec::new();
    for (module, others) in &reached {
        if others.contains(module) && !knots.iter().any(|knot| knot.contains(module)) {
            let back = |other: &&&str| reached.get(**other).is_some_and(|set| set.contains(module));
            knots.push(others.iter().filter(back).copied().collect());
        }
    }
    knots
}

/// Every module that `from` imports, directly or through others.
fn reach<'g>(graph: &'g Graph, from: &'g str) -> BTreeSet<&'g str> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(module) = left.pop() {
        let imported = graph.get(module).into_iter().flat_map(BTreeMap::keys);
        left.extend(imported.map(String::as_str).filter(|next| reached.insert(*next)));
    }
    reached
}

fn report(member: &Member, knot: &BTreeSet<&str>, graph: &Graph) -> String {
    let circle = shortest_circle(knot, graph);
    let mut text = format!("{}: modules of {} import each other:", member.shown(), member.name);
    for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
        let place = &graph[*from][*to];
        let _ = write!(text, "\n  {from} → {to}: {}:{}", place.file.display(), place.line);
    }
    if knot.len() > circle.len() {
        let modules = Vec::from_iter(knot.iter().copied()).join(", ");
        let _ = write!(text, "\n  This is one circle of several among {modules}.");
    }
    text + "\n  Move what both need into a module that imports neither, or pass it in."
}

/// The modules of one of the shortest circles within `knot`, in the order of their imports.
fn shortest_circle<'g>(knot: &BTreeSet<&'g str>, graph: &'g Graph) -> Vec<&'g str> {
    let circles = knot.iter().filter_map(|start| circle_through(start, graph));
    circles.min_by_key(Vec::len).unwrap_or_default()
}

/// Breadth first, so that the way back to `start` is as short as any.
fn circle_through<'g>(start: &'g str, graph: &'g Graph) -> Option<Vec<&'g str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut left = VecDeque::from([start]);
    while let Some(module) = left.pop_front() {
        for next in graph.get(module).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let back = std::iter::successors(Some(module), |at| came_from.get(at).copied());
                let mut circle: Vec<_> = back.collect();
                circle.reverse();
                return Some(circle);
            }
            if !came_from.contains_key(next.as_str()) {
                came_from.insert(next, module);
                left.push_back(next);
            }
        }
    }
    None
}
