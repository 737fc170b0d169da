// A box by dragging: a question to the model or, without one, an object of its own.

import { redraw } from "../canvas.js";
import { drawBox } from "../paint.js";
import { put } from "../documents.js";
import { box as ask } from "../prompt.js";
import { say } from "../panels/notice.js";
import { ellipse } from "../raster.js";
import { changed, newId, state, takesPrompts } from "../state.js";
import { clamp, toScreen, view } from "../view.js";

let from = null;
let to = null;

/** The box [x0, y0, x1, y1] in whole pixels. */
function boxOf() {
  const { width, height } = state.doc;
  const x = [from.x, to.x].map((value) => clamp(Math.round(value), 0, width)).sort((a, b) => a - b);
  const y = [from.y, to.y].map((value) => clamp(Math.round(value), 0, height)).sort((a, b) => a - b);
  return [x[0], y[0], x[1], y[1]];
}

function draw(box) {
  const [x0, y0, x1, y1] = box;
  const isEllipse = state.shape === "ellipse";
  const object = {
    uid: newId(),
    category_id: state.categoryId,
    mask: null,
    bbox: [x0, y0, x1 - x0, y1 - y0],
    iscrowd: false,
    polygons: isEllipse ? [ellipse(box)] : null,
    source: "manual",
    score: null,
    prompt: null,
  };
  put(state.doc, object);
  state.selected = object.uid;
  changed("selection");
}

export const box = {
  name: "box",
  cursor: "crosshair",
  hint() {
    if (takesPrompts()) return "Drag a box around what to annotate.";
    return state.shape === "ellipse" ? "Drag an ellipse: its corners can be moved afterwards." : "Drag a box.";
  },
  down(at) {
    from = at;
    to = at;
  },
  move(at) {
    if (!from) return;
    to = at;
    redraw();
  },
  up(at) {
    if (!from) return;
    to = at;
    const [x0, y0, x1, y1] = boxOf();
    const isSmall = Math.max(x1 - x0, y1 - y0) * view.scale < 5 || x1 === x0 || y1 === y0;
    from = null;
    redraw();
    if (isSmall) say("Drag from one corner to the opposite one.");
    else if (takesPrompts()) ask(state.doc, [x0, y0, x1, y1]);
    else draw([x0, y0, x1, y1]);
  },
  cancel() {
    from = null;
    redraw();
  },
  draw(context) {
    if (from) drawBox(context, toScreen(from), toScreen(to));
  },
};
