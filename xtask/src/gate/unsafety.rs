//! `unsafe` stays in the crates that the order allows it.

use super::{layers::Layers, manifests::Member, source::Source, tree::Tree};

/// One fault a file. The lint `unsafe_code` says the same of a crate that inherits the workspace's
/// lints; this also covers a crate that forgets to, and what lies outside the workspace.
pub(super) fn faults(
    members: &[Member],
    layers: &Layers,
    tree: &Tree,
    sources: &[Source],
) -> Vec<String> {
    let allowed = |source: &Source| {
        let package = tree.package_of(&source.path);
        let member = members.iter().find(|member| Some(&*member.folder) == package);
        member.and_then(|member| layers.get(&member.name)).is_some_and(|layer| layer.allows_unsafe)
    };
    let home = layers.iter().find(|layer| layer.allows_unsafe);
    let home = home.map_or("a crate that may have it", |layer| &layer.name);
    let outside = sources.iter().filter(|source| !allowed(source));
    outside
        .filter_map(|source| {
            let token = source.tokens.iter().find(|token| token.text == "unsafe")?;
            let (path, line) = (source.path.display(), token.line);
            Some(format!("{path}:{line}: `unsafe` is not allowed here. Move it into {home}."))
        })
        .collect()
}
