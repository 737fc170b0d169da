// Every key, in one table. The help is made from it.

import * as act from "./actions.js";
import { setSpace } from "./pointer.js";
import { toggle } from "./panels/sheet.js";

const ctrl = (key) => ({ key, ctrl: true });

/**
 * `keys`: what `event.key` is, in lower case, or { key, ctrl, shift, alt }. `shown`: as the help writes it.
 * `run` gets the event; `up` runs when the key is let go. `test`: the button that does the same.
 */
export const KEYS = [
  {
    title: "Tools",
    rows: [
      { keys: ["c"], shown: "C", text: "Point: click, the model answers", run: () => act.tool("point") },
      { keys: ["r"], shown: "R", text: "Box", run: () => act.tool("box") },
      { keys: ["g"], shown: "G", text: "Polygon", run: () => act.tool("polygon") },
      { keys: ["b"], shown: "B", text: "Brush", run: () => act.tool("brush") },
      { keys: ["e"], shown: "E", text: "Eraser", run: () => act.tool("eraser") },
      { keys: ["v"], shown: "V", text: "Select, move corners", run: () => act.tool("select") },
      { keys: ["m"], shown: "M", text: "Move the image", run: () => act.tool("pan") },
      { keys: ["["], shown: "[", text: "Smaller brush", run: () => act.brushBy(-1), repeats: true },
      { keys: ["]"], shown: "]", text: "Larger brush (or Shift + wheel)", run: () => act.brushBy(1), repeats: true },
    ],
  },
  {
    title: "Objects",
    rows: [
      { shown: "Right click", text: "Remove by a point; erase (or Alt + click)" },
      { keys: ["enter"], shown: "Enter", text: "Finish the object; close the polygon", run: act.finish },
      { keys: ["escape"], shown: "Esc", text: "Cancel; select nothing", run: act.escape },
      { keys: ["tab"], shown: "Tab", text: "Next object", run: () => act.cycle(1), onlyStage: true },
      { keys: [{ key: "tab", shift: true }], shown: "Shift + Tab", text: "Previous object", run: () => act.cycle(-1), onlyStage: true },
      { keys: ["delete", "backspace"], shown: "Delete", text: "Delete the object; take back a corner", run: () => act.back() },
      { digits: true, shown: "1 … 9", text: "Category", run: (event) => act.categoryByNumber(Number(event.code.slice(-1))) },
      { keys: [ctrl("z")], shown: "Ctrl + Z", text: "Undo", run: () => act.undoStep(), repeats: true },
      { keys: [{ key: "z", ctrl: true, shift: true }, ctrl("y")], shown: "Ctrl + Shift + Z", text: "Redo", run: () => act.redoStep(), repeats: true },
    ],
  },
  {
    title: "Drafts",
    rows: [
      { keys: ["d"], shown: "D", text: "Ask the model what it finds", run: () => act.draftAsk() },
      { keys: ["a"], shown: "A", text: "Accept the draft", run: () => act.draftAccept() },
      { keys: [{ key: "a", shift: true }], shown: "Shift + A", text: "Accept all drafts", run: () => act.draftAcceptAll() },
      { keys: ["x"], shown: "X", text: "Reject the draft", run: () => act.draftReject() },
      { keys: [{ key: "x", shift: true }], shown: "Shift + X", text: "Reject all drafts", run: () => act.draftRejectAll() },
    ],
  },
  {
    title: "Images",
    rows: [
      { keys: ["n", "arrowright", "arrowdown"], shown: "N or →", text: "Next image", run: act.next },
      { keys: ["p", "arrowleft", "arrowup"], shown: "P or ←", text: "Previous image", run: act.previous },
      { keys: ["u"], shown: "U", text: "Next untouched image", run: act.nextUntouched },
      { keys: ["f"], shown: "F", text: "Done, and on to the next", run: () => act.doneAndNext() },
      { keys: ["k"], shown: "K", text: "Skip, and on to the next", run: () => act.skipAndNext() },
    ],
  },
  {
    title: "Page",
    rows: [
      { keys: ["i"], shown: "I", text: "List of images", run: () => toggle("images") },
      { keys: ["j"], shown: "J", text: "Objects and display", run: () => toggle("side") },
      { keys: ["f6"], shown: "F6", text: "To the next part of the page", run: nextRegion },
      { keys: ["?"], shown: "?", text: "This help", run: () => document.querySelector("[data-test=help-open]").click() },
    ],
  },
  {
    title: "View",
    rows: [
      { keys: ["+", "="], shown: "+", text: "Zoom in (or the wheel)", run: () => act.zoomBy(1.25), repeats: true },
      { keys: ["-"], shown: "−", text: "Zoom out", run: () => act.zoomBy(0.8), repeats: true },
      { keys: ["0"], shown: "0", text: "Fit the image", run: () => act.zoomFit() },
      { keys: ["z"], shown: "Z", text: "One pixel to one point", run: () => act.zoomFull() },
      { keys: [" "], shown: "Space", text: "Hold and drag: move the image", run: () => setSpace(true), up: () => setSpace(false) },
      { keys: ["h"], shown: "H", text: "Hold: hide everything drawn", run: () => act.hide(true), up: () => act.hide(false) },
      { keys: ["o"], shown: "O", text: "Outlines only", run: act.toggleOutlines },
      { keys: [{ key: "arrowup", shift: true }], shown: "Shift + ↑", text: "Brighter", run: () => act.display("brightness", 10), repeats: true },
      { keys: [{ key: "arrowdown", shift: true }], shown: "Shift + ↓", text: "Darker", run: () => act.display("brightness", -10), repeats: true },
      { keys: [{ key: "arrowright", shift: true }], shown: "Shift + →", text: "More contrast", run: () => act.display("contrast", 10), repeats: true },
      { keys: [{ key: "arrowleft", shift: true }], shown: "Shift + ←", text: "Less contrast", run: () => act.display("contrast", -10), repeats: true },
      { keys: ["l"], shown: "L", text: "Brightness and contrast as in the file", run: act.resetDisplay },
      { keys: [{ key: "arrowup", alt: true }], shown: "Alt + ↑", text: "Masks more opaque", run: () => act.display("opacity", 10), repeats: true },
      { keys: [{ key: "arrowdown", alt: true }], shown: "Alt + ↓", text: "Masks more transparent", run: () => act.display("opacity", -10), repeats: true },
    ],
  },
];

function matches(row, event) {
  if (row.digits) return /^(Digit|Numpad)[1-9]$/.test(event.code) && !event.ctrlKey && !event.altKey && !event.shiftKey;
  const pressed = event.key.toLowerCase();
  return (row.keys ?? []).some((wanted) => {
    const { key, ctrl: isCtrl = false, shift = false, alt = false } = typeof wanted === "string" ? { key: wanted } : wanted;
    if (key !== pressed) return false;
    // Signs need Shift or AltGr on some keyboards.
    if (/^[[\]+=?-]$/.test(key)) return !event.metaKey && (event.ctrlKey === event.altKey || event.getModifierState?.("AltGraph"));
    return isCtrl === (event.ctrlKey || event.metaKey) && shift === event.shiftKey && alt === event.altKey;
  });
}

const rowOf = (event) => KEYS.flatMap(({ rows }) => rows).find((row) => row.run && matches(row, event));

/** Whether the key belongs to what has the focus. */
function isTaken(event) {
  const { target } = event;
  if (document.querySelector("dialog[open]")) return true;
  if (!(target instanceof Element)) return false;
  if (target.matches("textarea, select, input:not([type=range], [type=checkbox])")) return true;
  if (target.matches("input[type=range]")) return event.key.startsWith("Arrow");
  const isControl = target.matches("button, a, summary, input");
  return isControl && [" ", "Enter", "Tab"].includes(event.key);
}

const held = new Map();
let wasOnStage = false;

export function setUp(stage) {
  addEventListener("keydown", (event) => {
    if (isTaken(event) || event.isComposing) return;
    const row = rowOf(event);
    if (!row || (row.onlyStage && document.activeElement !== stage && document.activeElement !== document.body)) return;
    event.preventDefault();
    if (event.repeat && !row.repeats) return;
    row.run(event);
    if (row.up) held.set(event.code, row);
  });
  addEventListener("keyup", (event) => {
    held.get(event.code)?.up();
    held.delete(event.code);
  });
  stage.addEventListener("pointerdown", () => stage.classList.remove("is-reached"));
  addEventListener("keyup", (event) => {
    if (event.key === "Tab" && event.target === stage && !wasOnStage) stage.classList.add("is-reached");
    wasOnStage = document.activeElement === stage;
  });
  addEventListener("blur", () => {
    for (const row of held.values()) row.up();
    held.clear();
  });
}

/** Moves the focus between the parts of the page, so that Tab can belong to the objects. */
function nextRegion() {
  const regions = [...document.querySelectorAll("[data-region]")].filter((region) => region.getClientRects().length > 0);
  const place = regions.findIndex((region) => region.contains(document.activeElement));
  const region = regions[(place + 1) % regions.length];
  const first = region.matches("[tabindex]") ? region : region.querySelector("button, input, select, textarea, [tabindex]");
  first?.focus();
  region.classList.toggle("is-reached", first === region);
}
