// What stands above the image: its name, progress, whether it is saved, whether the server is there.

import * as act from "../actions.js";
import { byTest, setAttribute, setText, show } from "../dom.js";
import { retry, unsaved } from "../save.js";
import { on, state } from "../state.js";
import { listen } from "../stream.js";
import { openConflict } from "./conflict.js";

const TEXT = { saved: "Saved", saving: "Saving…", failed: "NOT SAVED", conflict: "NOT SAVED" };

export function setUp() {
  byTest("previous").addEventListener("click", act.previous);
  byTest("next").addEventListener("click", act.next);
  byTest("zoom-in").addEventListener("click", () => act.zoomBy(1.25));
  byTest("zoom-out").addEventListener("click", () => act.zoomBy(0.8));
  byTest("zoom-fit").addEventListener("click", () => act.zoomFit());
  byTest("save-state").addEventListener("click", () => (state.save.kind === "conflict" ? openConflict() : tryNow()));
  byTest("banner-retry").addEventListener("click", tryNow);
  byTest("banner-download").addEventListener("click", download);
  on("save connection", updateSave);
  on("images image session doc", updateName);
}

function tryNow() {
  if (state.connection.kind !== "ok") listen();
  retry();
}

/** Gives what is not saved as a file, so that it can be kept anywhere. */
function download() {
  const url = URL.createObjectURL(new Blob([unsaved()], { type: "application/json" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: "sonotune-unsaved.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function updateSave() {
  const { save, connection } = state;
  const isBad = save.kind === "failed" || save.kind === "conflict";
  const mark = byTest("save-state");
  setAttribute(mark, "data-kind", save.kind);
  setAttribute(mark, "title", isBad ? `${save.reason}. Click to try again.` : "Every change is saved at once");
  setText(byTest("save-text"), TEXT[save.kind]);
  setAttribute(mark, "aria-label", isBad ? `Not saved: ${save.reason}. Try again` : TEXT[save.kind]);
  const isAway = connection.kind !== "ok";
  const text = isAway ? connection.text : `Not saved: ${save.reason}`;
  show(byTest("banner"), isAway || isBad);
  setText(byTest("banner-text"), text);
  setText(byTest("banner-retry"), save.kind === "conflict" && !isAway ? "Decide" : "Try now");
  byTest("banner-retry").onclick = save.kind === "conflict" && !isAway ? openConflict : null;
  show(byTest("banner-download"), save.kind !== "saved");
}

function updateName() {
  const { doc, images, session } = state;
  if (!session) return;
  const done = images.filter((image) => image.status === "done").length;
  const place = images.findIndex((image) => image.id === doc?.id);
  setText(byTest("title"), session.title || "Sonotune");
  setText(byTest("progress"), `${done} of ${images.length} done`);
  setText(byTest("image-name"), doc?.name ?? "");
  setAttribute(byTest("image-name"), "title", doc?.name ?? null);
  setText(byTest("image-place"), doc ? `${place + 1} of ${images.length}` : "");
  setText(byTest("image-done"), doc ? ` · ${done} done` : "");
  const note = byTest("stage-note");
  show(note, !doc?.pixels);
  if (images.length === 0) setText(note, "There are no images here.");
  document.title = doc ? `${doc.name} – Sonotune` : "Sonotune";
}
