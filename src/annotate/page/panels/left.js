// Changes that an earlier page could not save: offered once, when the page opens.

import { open } from "../actions.js";
import * as api from "../api.js";
import { edit, load, sameContent, setNotes } from "../documents.js";
import { button, el } from "../dom.js";
import { drop, leftBehind } from "../pending.js";
import { state } from "../state.js";
import { describe } from "./conflict.js";
import { say } from "./notice.js";

/** A request of the page before may still be on its way. */
const ON_ITS_WAY_MS = 3000;
const WAIT_MS = 600;

/** What was left behind and the server does not have. Asked before anything can be changed, or a change would look like
 * somebody else's. */
export async function missingChanges() {
  const found = await leftBehind();
  if (found.some((one) => Date.now() - one.at < ON_ITS_WAY_MS)) await new Promise((done) => setTimeout(done, WAIT_MS));
  const missing = [];
  for (const kept of found) {
    const listed = state.images.find((image) => image.name === kept.name);
    if (!listed) continue;
    const current = await api.image(listed.id).catch(() => null);
    if (!current) continue;
    if (sameContent(kept, current)) drop(kept);
    else missing.push({ kept, id: listed.id, current });
  }
  return missing;
}

/** Asks what to do with them. */
export function offer(missing) {
  if (missing.length === 0) return;
  const rows = missing.map(({ kept, current }) => {
    const isOther = !kept.base || !sameContent(kept.base, current);
    const lines = describe(kept, current).map((line) => line.replace("theirs", "the file"));
    const warning = isOther ? el("p", { class: "problem" }, "The image was changed by somebody else since.") : null;
    const time = new Date(kept.at).toLocaleString();
    return el("li", {}, el("strong", {}, kept.name), ` (${time})`, el("ul", {}, ...lines.map((line) => el("li", {}, line))), warning);
  });
  const finish = (run) => async () => {
    dialog.close();
    dialog.remove();
    for (const one of missing) await run(one);
    if (run === restore) await open(missing.at(-1).id);
  };
  const dialog = el("dialog", { class: "dialog", test: "left", "aria-label": "Changes that were not saved" },
    el("h2", {}, "Changes that were not saved"), el("p", {}, "This browser still has them; the server never got them."), el("ul", { class: "left-list" }, ...rows),
    el("div", { class: "buttons" },
      button({ text: "Later", test: "left-later", run: () => dialog.close() }),
      button({ text: "Discard", test: "left-discard", run: finish(({ kept }) => drop(kept)) }),
      button({ text: "Restore and save", test: "left-restore", class: "primary", run: finish(restore) })));
  document.body.append(dialog);
  dialog.showModal();
}

async function restore({ kept, id }) {
  try {
    const doc = await load(id);
    edit(doc, { objects: kept.objects, status: kept.status });
    if (kept.notes !== doc.notes) setNotes(doc, kept.notes);
    drop(kept);
  } catch (error) {
    say(`${kept.name} cannot be restored yet: ${error.message}. It stays in this browser.`, { kind: "error" });
  }
}
