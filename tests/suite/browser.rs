//! Pages opened in headless Chromium at a phone's width.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Width of a phone's page in CSS pixels.
const WIDTH: u32 = 375;

/// Faults of a page at a phone's width: content wider than the page, words within a chart
/// that overlap or leave it. `None`, with the reason printed, if there is no browser.
pub(crate) fn faults_on_a_phone(html: &str) -> Option<Vec<String>> {
    let browser = browser()?;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("wrapper.html");
    fs::write(&page, wrapper(html)).unwrap();
    let output = Command::new(&browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--window-size=1000,900", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let result =
        dom.split_once("<pre id=\"result\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let Some((result, _)) = result else {
        let error = String::from_utf8_lossy(&output.stderr);
        panic!("{} measured nothing: {error}", browser.display());
    };
    let faults: Value = serde_json::from_str(
        &result.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"),
    )
    .unwrap();
    Some(
        faults.as_array().unwrap().iter().map(|fault| fault.as_str().unwrap().to_owned()).collect(),
    )
}

fn browser() -> Option<PathBuf> {
    let places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let found = std::env::var_os("SONOTUNE_CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| places.iter().map(PathBuf::from).find(|path| Path::exists(path)));
    if found.is_none() {
        eprintln!("skipped: no Chromium found (set SONOTUNE_CHROMIUM)");
    }
    found
}

/// A page with the report in a frame as wide as a phone, which a window cannot be.
fn wrapper(html: &str) -> String {
    let inner = html.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        r#"<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<pre id="wait"></pre>
<iframe id="frame" style="width:{WIDTH}px;height:800px;border:0" srcdoc="{inner}"></iframe>
<script>
const frame = document.getElementById("frame");
frame.onload = () => {{
  const page = frame.contentDocument, root = page.documentElement, faults = [];
  page.querySelectorAll("details").forEach(d => d.open = true);
  if (page.querySelectorAll("section").length < 5) faults.push("no sections");
  if (root.clientWidth > {WIDTH}) faults.push("frame of " + root.clientWidth);
  if (root.scrollWidth > root.clientWidth) faults.push("page is " + root.scrollWidth + " wide");
  for (const svg of page.querySelectorAll("svg")) {{
    const title = svg.closest("figure").querySelector("figcaption").textContent;
    const box = svg.getBoundingClientRect();
    const words = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
    words.forEach(([a, p], i) => {{
      if (p.left < box.left - 1 || p.right > box.right + 1 || p.top < box.top - 1 || p.bottom > box.bottom + 1)
        faults.push(title + ": " + a + " leaves the picture");
      for (const [b, q] of words.slice(i + 1))
        if (Math.min(p.right, q.right) - Math.max(p.left, q.left) > 0.5 &&
            Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 1.5)
          faults.push(title + ": " + a + " lies on " + b);
    }});
  }}
  for (const image of page.querySelectorAll("img"))
    if (!image.naturalWidth) faults.push("picture not shown: " + image.alt);
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(faults);
  document.body.appendChild(result);
}};
</script>"#
    )
}
