// The tools, what can be set about the one in hand, and the actions of an image.

import * as act from "../actions.js";
import { button, byTest, el, keyed, setAttribute, setText, show } from "../dom.js";
import { showCursor } from "../pointer.js";
import { asking } from "../prompt.js";
import { on, setBrush, state, takesPrompts } from "../state.js";
import { currentTool } from "../tools/index.js";

const TOOLS = [
  ["point", "Point", "C"],
  ["box", "Box", "R"],
  ["polygon", "Polygon", "G"],
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"],
  ["select", "Select", "V"],
  ["pan", "Move", "M"],
];

let hint;
let size;
let sizeText;
let parts;
let categories;
let draftText;

export function setUp() {
  setUpTools(byTest("tools"));
  setUpOptions(byTest("options"));
  setUpActions(byTest("actions"));
  on("tool brush selection session prompt doc", update);
}

function setUpTools(bar) {
  for (const [name, label, key] of TOOLS) {
    const text = el("span", { class: "tool-name" }, label);
    const one = button({ label, title: `${label} (${key})`, symbol: name, test: `tool-${name}`, class: "tool", run: () => act.tool(name) });
    one.append(text);
    bar.append(one);
  }
}

function choice(name, options, run) {
  const group = el("div", { class: "choice", role: "group", test: name });
  for (const [value, text, title] of options) {
    group.append(button({ label: title, title, text, test: `${name}-${value}`, "aria-label": title, run: () => run(value) }));
  }
  return group;
}

function setUpOptions(bar) {
  hint = el("p", { class: "hint", test: "hint" });
  const adds = choice("sign", [["add", "+ Add", "Clicks add"], ["remove", "− Remove", "Clicks remove"]], (value) => act.setAdds(value === "add"));
  const shape = choice("shape", [["box", "Box", "Dragging makes a box"], ["ellipse", "Ellipse", "Dragging makes an ellipse"]], act.setShape);
  size = el("input", { type: "range", min: 1, max: 200, test: "brush-size", "aria-label": "Brush size", on: { input: () => setBrush(Number(size.value)) } });
  sizeText = el("output", { class: "quiet", test: "brush-text" });
  const brush = el("label", { class: "brush-size" }, el("span", {}, "Size"), size, sizeText);
  const finish = button({ text: "Finish", title: "Finish the object (Enter)", test: "finish", run: act.finish });
  const busy = el("span", { class: "busy", test: "busy", role: "status" }, "The model is thinking…");
  categories = el("select", { class: "category-select", test: "category-select", "aria-label": "Category", on: { change: () => act.setCategory(Number(categories.value)) } });
  draftText = el("span", { class: "quiet" });
  const draftBar = el("div", { class: "draft-bar", test: "draft-bar" },
    button({ text: "Accept", title: "Accept the draft (A)", class: "primary", test: "draft-accept", run: () => act.draftAccept() }),
    button({ text: "Reject", title: "Reject the draft (X)", test: "draft-reject", run: () => act.draftReject() }), draftText);
  parts = { adds, shape, brush, finish, busy, draftBar };
  bar.prepend(draftBar, adds, shape, brush, finish, categories, hint, busy);
}

function setUpActions(bar) {
  bar.append(
    button({ label: "Undo", title: "Undo (Ctrl+Z)", symbol: "undo", class: "square", test: "undo", run: () => act.undoStep() }),
    button({ label: "Redo", title: "Redo (Ctrl+Shift+Z)", symbol: "redo", class: "square", test: "redo", run: () => act.redoStep() }),
    labelled("draft", "Drafts", "Ask the model what it finds (D)", "draft", () => act.draftAsk()),
    labelled("skip", "Skip", "Skip this image (K: and on to the next)", "skip", () => act.skipAndNext()),
    labelled("check", "Done", "Done, and on to the next (F)", "done", () => act.doneAndNext()),
  );
  byTest("done").classList.add("primary");
}

function labelled(symbol, text, title, test, run) {
  const one = button({ label: text, title, symbol, test, class: "labelled", run });
  one.append(el("span", {}, text));
  return one;
}

function update() {
  const { tool, doc } = state;
  for (const [name] of TOOLS) setAttribute(byTest(`tool-${name}`), "aria-pressed", tool === name);
  const hasModel = takesPrompts();
  setAttribute(byTest("tool-point"), "aria-disabled", hasModel ? null : "true");
  show(parts.adds, tool === "point" && hasModel);
  show(parts.shape, tool === "box" && !hasModel);
  show(parts.brush, Boolean(currentTool().hasSize));
  show(parts.finish, tool === "polygon" ? Boolean(currentTool().isBusy()) : tool === "point" && Boolean(state.selected));
  updateCategories(doc);
  show(parts.busy, state.isAsking || Boolean(asking(state.selected)));
  setAttribute(byTest("sign-add"), "aria-pressed", state.adds);
  setAttribute(byTest("sign-remove"), "aria-pressed", !state.adds);
  setAttribute(byTest("shape-box"), "aria-pressed", state.shape === "box");
  setAttribute(byTest("shape-ellipse"), "aria-pressed", state.shape === "ellipse");
  size.value = String(state.brush);
  setText(sizeText, `${state.brush} px`);
  setText(hint, doc?.now.proposals.length ? "" : currentTool().hint());
  byTest("undo").disabled = !doc?.past.length && !currentTool().isBusy?.();
  byTest("redo").disabled = !doc?.future.length;
  show(byTest("draft"), Boolean(state.session?.model));
  setAttribute(byTest("done"), "aria-pressed", doc?.now.status === "done");
  setAttribute(byTest("skip"), "aria-pressed", doc?.now.status === "skipped");
  showCursor();
}

/** For screens without room for the list of categories and drafts. */
function updateCategories(doc) {
  const proposals = doc?.now.proposals ?? [];
  show(parts.draftBar, proposals.length > 0);
  const place = proposals.findIndex((one) => one.uid === state.selected);
  setText(draftText, place < 0 ? `${proposals.length} drafts` : `${place + 1} of ${proposals.length}`);
  const list = state.session?.categories ?? [];
  keyed(categories, list, (one) => one.id, (one) => el("option", { value: one.id }), (option, one) => setText(option, one.name));
  const object = doc?.now.objects.find((one) => one.uid === state.selected);
  categories.value = String(object?.category_id ?? state.categoryId);
}
