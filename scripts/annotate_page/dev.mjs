// Serves the page from its source folder and passes everything else on to a running annotator, so that a reload
// shows a change of the page. Faults can be switched on, to see what the page does then.
//
//     PORT=8801 cargo run -p sonotune-annotate --example fake_annotate -- IMAGES FILE.json    (prints a URL)
//     node scripts/annotate_page/dev.mjs URL [PORT]
//
// GET /dev?fail=507        every PUT of an image answers with this status (0: none)
// GET /dev?delay=800       every PUT and question waits so many milliseconds

import { createReadStream, existsSync } from "node:fs";
import http from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = join(dirname(fileURLToPath(import.meta.url)), "../../src/annotate/page");
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'";

/** Listens on `port` in front of the annotator at `url`, which has `?token=…`. */
export async function start(url, port = 0) {
  const target = new URL(url);
  const faults = { fail: 0, delay: 0 };
  const server = http.createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://localhost");
    if (pathname === "/dev") {
      for (const [name, value] of searchParams) faults[name] = Number(value);
      return response.end(JSON.stringify(faults));
    }
    const name = pathname === "/" ? "index.html" : pathname.startsWith("/assets/") ? normalize(pathname.slice(8)) : null;
    if (name && !name.startsWith("..")) return asset(name, response);
    const isSlow = request.method === "PUT" || pathname.endsWith("/ask");
    if (isSlow && faults.delay) await new Promise((done) => setTimeout(done, faults.delay));
    if (request.method === "PUT" && pathname.startsWith("/api/images/") && faults.fail) {
      request.resume();
      response.writeHead(faults.fail, { "Content-Type": "application/json" });
      return response.end(JSON.stringify({ error: "the disk is full" }));
    }
    return forward(target, request, response);
  });
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  return server;
}

function asset(name, response) {
  const path = join(PAGE, name);
  if (!existsSync(path)) {
    response.writeHead(404);
    return response.end();
  }
  response.writeHead(200, { "Content-Type": TYPES[extname(path)], "Content-Security-Policy": POLICY, "Cache-Control": "no-store" });
  return createReadStream(path).pipe(response);
}

function forward(target, request, response) {
  const headers = { ...request.headers, host: target.host, authorization: `Token ${target.searchParams.get("token")}` };
  delete headers.origin;
  const onward = http.request({ host: target.hostname, port: target.port, path: request.url, method: request.method, headers });
  onward.on("response", (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", () => response.destroy());
  response.on("close", () => onward.destroy());
  request.pipe(onward);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [url, port] = process.argv.slice(2);
  const server = await start(url, Number(port ?? 8800));
  console.log(`http://127.0.0.1:${server.address().port}/`);
}
