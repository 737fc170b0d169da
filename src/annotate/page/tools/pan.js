// Moves the image.

import { redraw } from "../canvas.js";
import { state } from "../state.js";
import { panBy } from "../view.js";

let last = null;

export const pan = {
  name: "pan",
  cursor: "grab",
  hint: () => "Drag to move the image. With any tool: hold Space, or use two fingers.",
  down(at) {
    last = at.screen;
  },
  move(at) {
    if (!last) return;
    panBy(state.doc, at.screen.x - last.x, at.screen.y - last.y);
    last = at.screen;
    redraw(true);
  },
  up() {
    last = null;
  },
  cancel() {
    last = null;
  },
};
