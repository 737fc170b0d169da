// Paints and erases pixels of the selected object, or begins one.

import { paintable, redraw, setPainting } from "../canvas.js";
import { edit, find, findProposal, objectAt, put } from "../documents.js";
import { colourOf } from "../paint.js";
import { say } from "../panels/notice.js";
import { cropped, paint } from "../raster.js";
import { encode } from "../rle.js";
import { bitsOf, hits, rgb } from "../shapes.js";
import { changed, isTouch, newId, state } from "../state.js";
import { toScreen, view } from "../view.js";

/** The stroke: { uid, object, data, context, value, last, box }. */
let stroke = null;
let hover = null;

function selected() {
  const { doc } = state;
  return find(doc, state.selected) ?? findProposal(doc, state.selected);
}

function begin(at, value) {
  const { doc } = state;
  let object = selected();
  if (!object && value === 0) {
    object = objectAt(doc, at, hits);
    if (!object) {
      say("Select the object to erase from.");
      return;
    }
  }
  const uid = object?.uid ?? newId();
  state.selected = uid;
  changed("selection");
  const colour = colourOf(object ?? { category_id: state.categoryId });
  const { data, canvas, context } = paintable(doc, object, colour);
  const bits = object ? bitsOf(doc, object) : null;
  const box = bits?.w ? { x0: bits.x, y0: bits.y, x1: bits.x + bits.w, y1: bits.y + bits.h } : null;
  stroke = { uid, object, data, context, canvas, value, last: at, box, colour: rgb(colour) };
  setPainting({ uid, canvas, box });
  dab(at);
}

function dab(at) {
  const { doc } = state;
  const { data, value, last } = stroke;
  const touched = paint(data, doc.width, doc.height, { a: last, b: at, radius: state.brush / 2, value });
  stroke.last = at;
  const [w, h] = [touched.x1 - touched.x0, touched.y1 - touched.y0];
  if (w <= 0 || h <= 0) return;
  stroke.box = joined(stroke.box, touched);
  setPainting({ uid: stroke.uid, canvas: stroke.canvas, box: stroke.box });
  const image = stroke.context.createImageData(w, h);
  const [r, g, b] = stroke.colour;
  const words = new Uint32Array(image.data.buffer);
  const word = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  for (let row = 0; row < h; row += 1) {
    const from = (touched.y0 + row) * doc.width + touched.x0;
    for (let column = 0; column < w; column += 1) if (data[from + column]) words[row * w + column] = word;
  }
  stroke.context.putImageData(image, touched.x0, touched.y0);
}

function joined(a, b) {
  if (!a) return b;
  return {
    x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0),
    x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1),
  };
}

function end() {
  const { doc } = state;
  const { uid, object, data, box } = stroke;
  stroke = null;
  setPainting(null);
  if (!box) return;
  const bits = cropped(data, doc.width, box);
  if (bits.w === 0) {
    if (!object) return;
    const without = (list) => list.filter((one) => one.uid !== uid);
    edit(doc, { objects: without(doc.now.objects), proposals: without(doc.now.proposals) });
    say("Nothing was left of the object: it is removed. Ctrl+Z brings it back.");
    return;
  }
  const mask = encode(bits, doc.height, doc.width);
  if (object?.mask?.counts === mask.counts) return;
  put(doc, {
    ...(object ?? { uid, category_id: state.categoryId, iscrowd: false, score: null, prompt: null }),
    mask,
    bbox: [bits.x, bits.y, bits.w, bits.h],
    polygons: null,
    source: "manual",
  });
}

function tool(name, value) {
  return {
    name,
    cursor: "none",
    hasSize: true,
    usesSecondButton: value === 1,
    hint() {
      if (isTouch()) return value === 0 ? "Erase from the selected object." : state.selected ? "Paint the selected object." : "Paint a new object.";
      if (value === 0) return "Erase from the selected object. [ and ] change the size.";
      if (state.selected) return "Paint; with the right button erase. [ and ] change the size.";
      return "Paint a new object. [ and ] change the size.";
    },
    down(at, event) {
      const isSecond = event.button === 2 || event.altKey;
      begin(at, isSecond ? 1 - value : value);
    },
    move(at) {
      hover = at;
      if (stroke) dab(at);
    },
    up() {
      if (stroke) end();
    },
    hover(at) {
      hover = at;
      redraw();
    },
    cancel() {
      const isNew = stroke && !stroke.object;
      stroke = null;
      setPainting(null);
      if (isNew) {
        state.selected = null;
        changed("selection");
      }
    },
    leave() {
      hover = null;
    },
    draw(context) {
      if (hover) drawRing(context, toScreen(hover));
    },
  };
}

function drawRing(context, at) {
  context.beginPath();
  context.arc(at.x, at.y, Math.max(1.5, (state.brush / 2) * view.scale), 0, 2 * Math.PI);
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0, 0, 0, 0.6)";
  context.stroke();
  context.lineWidth = 1.25;
  context.strokeStyle = "#ffffff";
  context.stroke();
}

export const brush = tool("brush", 1);
export const eraser = tool("eraser", 0);
