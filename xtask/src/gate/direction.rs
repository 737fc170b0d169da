//! A crate depends only on those before it in the order.

use super::{
    layers::{FILE, Layers},
    manifests::{Dependency, Member},
};

/// Members that the order does not have, and entries of it that are not members.
pub(super) fn unlisted(members: &[Member], layers: &Layers) -> Vec<String> {
    let missing = members.iter().filter(|member| layers.get(&member.name).is_none());
    let missing = missing.map(|member| {
        let (manifest, name) = (member.manifest(), &member.name);
        format!("{manifest}: {name} is not in {FILE}. Add a line after everything it depends on.")
    });
    let gone = layers.iter().filter(|layer| members.iter().all(|m| m.name != layer.name));
    let gone = gone.map(|layer| {
        let name = &layer.name;
        format!("{FILE}: {name} is not a member of the workspace. Delete or rename its line.")
    });
    missing.chain(gone).collect()
}

/// Dependencies that the order forbids.
///
/// Dev-dependencies count: Cargo would allow them to point up, but then testing a small crate would
/// build the large ones again, which is what the split is for. Only a crate's dependency on itself
/// (to switch a feature on for its tests) is left alone, since Cargo has no other way.
pub(super) fn faults(members: &[Member], layers: &Layers) -> Vec<String> {
    let dependencies = members.iter().flat_map(|member| {
        let others = member.dependencies.iter().filter(|d| d.package != member.name);
        others.map(move |dependency| (member, dependency))
    });
    dependencies
        .filter_map(|(member, dependency)| {
            let fault = forbidden(&member.name, dependency, layers)?;
            Some(format!("{}:{}: {fault}", member.manifest(), dependency.line))
        })
        .collect()
}

fn forbidden(name: &str, dependency: &Dependency, layers: &Layers) -> Option<String> {
    let on = &dependency.package;
    let depends = if dependency.for_tests { "depends for its tests on" } else { "depends on" };
    if layers.libtorch.contains(on) && layers.builds_without_libtorch(name) {
        return Some(format!(
            "{name} {depends} {on}, but builds without libtorch. Move the code that needs tensors \
             into a crate of `with_libtorch` in {FILE}."
        ));
    }
    // Crates of others are in no layer.
    let layer = layers.get(on)?;
    if dependency.for_tests && layer.for_tests_of.iter().any(|user| user == name) {
        return None;
    }
    if layer.known_to.as_ref().is_some_and(|users| !users.iter().any(|user| user == name)) {
        return Some(format!(
            "{name} {depends} {on}, which `known_to` in {FILE} keeps from it. Go through a trait \
             that {on} implements."
        ));
    }
    // What the order does not list is a fault already.
    if layers.position(on)? <= layers.position(name)? {
        return None;
    }
    let remedy = if dependency.for_tests {
        format!("Move these tests into {on}, or into tests/ if they start the program.")
    } else {
        format!("Move what both need into {name} or a crate below it, or let {on} pass it in.")
    };
    Some(format!("{name} {depends} {on}, which is above it in {FILE}. {remedy}"))
}
