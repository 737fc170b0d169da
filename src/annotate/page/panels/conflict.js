// Two versions of an image: what differs, and which one stays.

import { content, differences } from "../documents.js";
import { button, el } from "../dom.js";
import { conflicts, keepMine, takeTheirs } from "../save.js";
import { category, on } from "../state.js";
import { STATUS } from "./images.js";

let dialog;
let text;
let current = null;

export function setUp() {
  text = el("div", { test: "conflict-text" });
  dialog = el("dialog", { class: "dialog", test: "conflict", "aria-label": "Two versions" },
    el("h2", {}, "Two versions of this image"), text,
    el("div", { class: "buttons" },
      button({ text: "Decide later", test: "conflict-later", run: () => dialog.close() }),
      button({ text: "Take theirs", test: "conflict-theirs", run: () => decide(takeTheirs) }),
      button({ text: "Keep mine", test: "conflict-mine", class: "primary", run: () => decide(keepMine) })));
  document.body.append(dialog);
  on("conflict", openConflict);
}

export function openConflict() {
  [current] = conflicts();
  if (!current || dialog.open) return;
  const { doc, message } = current;
  const lines = describe(content(doc), current.current);
  text.replaceChildren(el("p", {}, el("strong", {}, doc.name), `: ${message}.`),
    el("ul", {}, ...lines.map((line) => el("li", {}, line))),
    el("p", { class: "quiet" }, "If you take theirs, Ctrl+Z brings yours back."));
  dialog.showModal();
}

function decide(how) {
  dialog.close();
  how(current.doc);
  if (conflicts().length > 0) openConflict();
}

const few = (number) => (number === 1 ? "1 object" : `${number} objects`);

/** What differs, in words. */
export function describe(mine, theirs) {
  const found = differences(mine, theirs);
  const names = (uids, from) => {
    const objects = uids.map((uid) => from.objects.find((object) => object.uid === uid));
    return [...new Set(objects.map((object) => category(object.category_id)?.name ?? "?"))].join(", ");
  };
  const lines = [];
  if (found.onlyMine.length) lines.push(`${few(found.onlyMine.length)} only in yours: ${names(found.onlyMine, mine)}`);
  if (found.onlyTheirs.length) lines.push(`${few(found.onlyTheirs.length)} only in theirs: ${names(found.onlyTheirs, theirs)}`);
  if (found.shape.length) lines.push(`${few(found.shape.length)} with another shape: ${names(found.shape, mine)}`);
  for (const uid of found.category) lines.push(`category: ${names([uid], mine)} in yours, ${names([uid], theirs)} in theirs`);
  if (found.hasStatus) lines.push(`status: ${STATUS[mine.status]} in yours, ${STATUS[theirs.status]} in theirs`);
  if (found.hasNotes) lines.push("the notes");
  return lines;
}
