//! Lists the files of the page, which the program carries within itself.

use std::{env, error::Error, fmt::Write, fs, path::Path};

/// What a browser loads.
const SERVED: [&str; 8] = ["html", "css", "js", "mjs", "svg", "png", "ico", "woff2"];

/// Name relative to the page's folder, with `/`, and the file.
type Asset = (String, String);

fn main() -> Result<(), Box<dyn Error>> {
    let page = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("page");
    println!("cargo:rerun-if-changed={}", page.display());
    let mut assets = Vec::new();
    collect(&page, "", &mut assets)?;
    assets.sort();
    let mut table = String::from("[\n");
    for (name, file) in assets {
        writeln!(table, "    ({name:?}, include_bytes!({file:?})),")?;
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("assets.rs"), table)?;
    Ok(())
}

/// Adds the files of a folder; tests of the page, and what they need, are not part of it.
fn collect(folder: &Path, prefix: &str, assets: &mut Vec<Asset>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_test = name.contains(".test.") || ["tests", "node_modules"].contains(&name);
        if is_test || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), assets)?;
        } else if SERVED.contains(&ending) {
            println!("cargo:rerun-if-changed={}", path.display());
            assets.push((format!("{prefix}{name}"), path.display().to_string()));
        }
    }
    Ok(())
}
