//! Lists the repository's configs, which the program carries within itself.

use std::{env, error::Error, fmt::Write, fs, path::Path};

/// Path relative to the repository, with `/`, and the file.
type Config = (String, String);

fn main() -> Result<(), Box<dyn Error>> {
    let configs = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../configs");
    println!("cargo:rerun-if-changed={}", configs.display());
    let mut found = Vec::new();
    collect(&configs, "configs", &mut found)?;
    found.sort();
    let mut table = String::from("&[\n");
    for (name, file) in found {
        writeln!(table, "    ({name:?}, include_str!({file:?})),")?;
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("configs.rs"), table)?;
    Ok(())
}

/// Adds the configs of a folder. Each folder is watched as well: Cargo looks at the time of a folder itself, not
/// at those below it.
fn collect(folder: &Path, prefix: &str, found: &mut Vec<Config>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_toml = path.extension().is_some_and(|ending| ending == "toml");
        if name.starts_with('.') {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display());
        if path.is_dir() {
            collect(&path, &format!("{prefix}/{name}"), found)?;
        } else if is_toml {
            found.push((format!("{prefix}/{name}"), path.display().to_string()));
        }
    }
    Ok(())
}
