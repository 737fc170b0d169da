// Starts and stops an annotator.

import { spawn } from "node:child_process";

/** Runs `program IMAGES FILE [FIRST]` on a port; { url, stop, kill }. */
export async function serve(program, files, { port = 0, reader = "Ada" } = {}) {
  const child = spawn(program, files, { env: { ...process.env, PORT: String(port), READER: reader }, stdio: ["ignore", "pipe", "pipe"] });
  const url = await new Promise((done, fail) => {
    let [text, log] = ["", ""];
    child.stderr.on("data", (chunk) => (log += chunk));
    child.stdout.on("data", (chunk) => {
      text += chunk;
      const found = text.match(/https?:\/\/\S+/);
      if (found) done(found[0]);
    });
    child.on("exit", (code) => fail(new Error(`${program} ended with ${code}:\n${log}`)));
  });
  // A server whose driver has died must not stay.
  const endToo = () => child.kill("SIGKILL");
  process.on("exit", endToo);
  child.on("exit", () => process.off("exit", endToo));
  const end = (signal) => new Promise((done) => {
    if (child.exitCode !== null || child.signalCode !== null) return done();
    child.on("exit", done);
    return child.kill(signal);
  });
  return { url, stop: () => end("SIGTERM"), kill: () => end("SIGKILL") };
}
