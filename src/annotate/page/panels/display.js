// Brightness, contrast and opacity. They change what is seen, never the file.

import * as act from "../actions.js";
import { button, el, setAttribute, setText } from "../dom.js";
import { on, setDisplay, state } from "../state.js";

const SLIDERS = [
  ["brightness", "Brightness", 20, 300],
  ["contrast", "Contrast", 20, 300],
  ["opacity", "Mask opacity", 0, 100],
];

const inputs = {};
const outputs = {};
let outlines;

export function setUp(panel) {
  const block = el("section", { class: "block", "aria-label": "Display" },
    el("div", { class: "block-head" }, el("h2", {}, "Display"), button({ text: "Reset", title: "Brightness and contrast as in the file (L)", test: "display-reset", run: act.resetDisplay })));
  for (const [name, label, min, max] of SLIDERS) {
    inputs[name] = el("input", { type: "range", min, max, test: name, on: { input: () => setDisplay({ [name]: Number(inputs[name].value) }) } });
    outputs[name] = el("output", { class: "quiet" });
    block.append(el("label", { class: "slider" }, el("span", {}, label), inputs[name], outputs[name]));
  }
  outlines = button({ text: "Outlines", title: "Outlines only (O)", test: "outlines", run: act.toggleOutlines });
  const hide = button({ text: "Hold to hide", title: "Hide everything drawn (hold H)", test: "hide" });
  hide.addEventListener("pointerdown", () => act.hide(true));
  for (const end of ["pointerup", "pointerleave", "pointercancel"]) hide.addEventListener(end, () => act.hide(false));
  block.append(el("div", { class: "pair" }, outlines, hide));
  panel.append(block);
  on("display session", update);
}

function update() {
  for (const [name] of SLIDERS) {
    inputs[name].value = String(state.display[name]);
    setText(outputs[name], `${state.display[name]} %`);
  }
  setAttribute(outlines, "aria-pressed", state.display.outlines);
}
