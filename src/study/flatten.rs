//! A table as `key=value` overrides.

use toml::{Table, Value};

/// Every value of `table`, with its dotted key, as an override of a config.
pub(crate) fn overrides(table: &Table) -> Vec<String> {
    let mut all = Vec::new();
    visit(&[], table, &mut all);
    all
}

fn visit(above: &[&str], table: &Table, all: &mut Vec<String>) {
    for (key, value) in table {
        let path = [above, &[key.as_str()]].concat();
        match value {
            Value::Table(inner) if !inner.is_empty() => visit(&path, inner, all),
            value => all.push(format!("{}={value}", dotted(&path))),
        }
    }
}

fn dotted(path: &[&str]) -> String {
    let is_bare = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let quoted = |part: &&str| if is_bare(part) { (*part).to_owned() } else { format!("{part:?}") };
    path.iter().map(quoted).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_type_and_empty_tables_stay() {
        let text = "a.b = 1\na.c = \"x\"\nd = [1, 2]\ne = {}\nf.\"g h\" = { i = true }";
        let table: Table = text.parse().unwrap();
        let expected = ["a.b=1", "a.c=\"x\"", "d=[1, 2]", "e={}", "f.\"g h\".i=true"];
        assert_eq!(overrides(&table), expected);
    }
}
