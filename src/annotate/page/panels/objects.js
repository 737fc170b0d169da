// The objects of the image, the drafts, and the notes.

import * as act from "../actions.js";
import { setNotes } from "../documents.js";
import { button, el, keyed, setAttribute, setText, show } from "../dom.js";
import { colourOf } from "../paint.js";
import { category, on, state } from "../state.js";

const SOURCE = { manual: "by hand", model: "by model", draft: "draft" };

let list;
let proposals;
let draftBox;
let empty;
let notes;
let labels;
let heading;

export function setUp(panel) {
  list = el("ul", { class: "objects", test: "objects" });
  proposals = el("ul", { class: "objects", test: "proposals" });
  empty = el("p", { class: "quiet empty", test: "objects-empty" }, "Nothing yet.");
  labels = el("div", { class: "labels", test: "labels" });
  heading = el("h2", {}, "Objects");
  draftBox = el("section", { class: "block drafts", test: "drafts-panel", "aria-label": "Drafts" },
    el("div", { class: "block-head" }, el("h2", {}, "Drafts"),
      button({ text: "Accept all", title: "Accept all (Shift+A)", test: "accept-all", run: () => act.draftAcceptAll() }),
      button({ text: "Reject all", title: "Reject all (Shift+X)", test: "reject-all", run: () => act.draftRejectAll() })),
    proposals);
  notes = el("textarea", { rows: 2, maxlength: 20000, test: "notes", on: { input: () => state.doc && setNotes(state.doc, notes.value) } });
  panel.append(
    draftBox,
    labels,
    el("section", { class: "block", "aria-label": "Objects" }, el("div", { class: "block-head" }, heading), empty, list),
    el("section", { class: "block" }, el("label", { class: "notes" }, el("span", { class: "heading" }, "Notes"), notes)),
  );
  on("doc selection session image", update);
}

function update() {
  const { doc } = state;
  const now = doc?.now ?? { objects: [], proposals: [] };
  setText(heading, now.objects.length > 0 ? `Objects (${now.objects.length})` : "Objects");
  show(empty, now.objects.length === 0);
  show(draftBox, now.proposals.length > 0);
  keyed(list, now.objects, (object) => object.uid, (object) => create(object, false), refresh);
  keyed(proposals, now.proposals, (object) => object.uid, (object) => create(object, true), refresh);
  if (notes.value !== (doc?.notes ?? "") && document.activeElement !== notes) notes.value = doc?.notes ?? "";
  updateLabels(doc);
  const chosen = [...list.children, ...proposals.children].find((row) => row.dataset.key === state.selected);
  chosen?.scrollIntoView({ block: "nearest" });
}

function create({ uid }, isProposal) {
  const choose = el("button", { type: "button", class: "object", test: isProposal ? "proposal" : "object", on: { click: () => act.select(uid) } },
    el("span", { class: "swatch", "aria-hidden": "true" }), el("span", { class: "object-name" }), el("span", { class: "object-more quiet" }));
  const row = el("li", {}, choose);
  if (isProposal) {
    row.append(
      button({ label: "Accept", title: "Accept (A)", symbol: "check", class: "square", test: "accept", run: () => act.draftAccept(uid) }),
      button({ label: "Reject", title: "Reject (X)", symbol: "close", class: "square", test: "reject", run: () => act.draftReject(uid) }),
    );
  } else {
    row.append(button({ label: "Delete", title: "Delete", symbol: "trash", class: "square", test: "object-delete", run: () => act.remove(uid) }));
  }
  return row;
}

function refresh(row, object, place) {
  const [swatch, name, more] = row.firstElementChild.children;
  const colour = colourOf(object);
  if (swatch.dataset.colour !== colour) {
    swatch.dataset.colour = colour;
    swatch.style.backgroundColor = colour;
  }
  const title = category(object.category_id)?.name ?? `Category ${object.category_id}`;
  setText(name, title);
  const kind = object.polygons ? "polygon" : object.mask ? "mask" : "box";
  const score = object.score === null || object.score === undefined ? null : object.score.toFixed(2);
  setText(more, [kind, SOURCE[object.source], object.source === "manual" ? null : score].filter(Boolean).join(" · "));
  const isSelected = object.uid === state.selected;
  setAttribute(row, "class", isSelected ? "is-selected" : null);
  setAttribute(row.firstElementChild, "aria-pressed", isSelected);
  setAttribute(row.firstElementChild, "aria-label", `${place + 1}: ${title}, ${more.textContent}`);
  setAttribute(row.firstElementChild, "data-uid", object.uid);
}

/** What a model says about the image as a whole. */
function updateLabels(doc) {
  show(labels, Boolean(doc?.labels));
  labels.replaceChildren();
  if (!doc?.labels) return;
  labels.append(el("h2", {}, "The model's opinion"));
  const scores = Object.entries(doc.labels.scores).sort((a, b) => b[1] - a[1]);
  for (const [id, score] of scores) {
    const name = category(Number(id))?.name ?? `Category ${id}`;
    labels.append(el("div", { class: "label-row" }, el("span", {}, name), el("meter", { min: 0, max: 1, value: score, "aria-label": name }),
      el("span", { class: "quiet" }, score.toFixed(2)),
      button({ text: "Use", title: `Label the whole image ${name}`, test: `label-${id}`, run: () => act.draftLabel(Number(id)) })));
  }
}

