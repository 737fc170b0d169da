// Outlines by clicking corners, or by dragging along the edge.

import { redraw } from "../canvas.js";
import { drawHandle } from "../paint.js";
import { put } from "../documents.js";
import { say } from "../panels/notice.js";
import { changed, isTouch, newId, state } from "../state.js";
import { clamp, toScreen, view } from "../view.js";

/** Distance on the screen at which the first corner closes the outline. */
const CLOSE = 10;
const TOUCH_CLOSE = 22;
/** Distance on the screen between corners that dragging leaves. */
const STRIDE = 14;
const DOUBLE_MS = 400;

let corners = [];
let hover = null;
let isDown = false;
let lastUp = 0;

function inside(at) {
  const { width, height } = state.doc;
  const round = (value) => Math.round(value * 10) / 10;
  return { x: round(clamp(at.x, 0, width)), y: round(clamp(at.y, 0, height)) };
}

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y) * view.scale;

function isNearFirst(at, event) {
  const reach = event.pointerType === "touch" ? TOUCH_CLOSE : CLOSE;
  return corners.length >= 3 && distance(at, corners[0]) <= reach;
}

function close() {
  if (corners.length < 3) {
    say("An outline needs at least three corners.");
    return;
  }
  const [xs, ys] = [corners.map(({ x }) => x), corners.map(({ y }) => y)];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  const object = {
    uid: newId(),
    category_id: state.categoryId,
    mask: null,
    bbox: [x, y, Math.max(...xs) - x, Math.max(...ys) - y],
    iscrowd: false,
    polygons: [corners.flatMap((corner) => [corner.x, corner.y])],
    source: "manual",
    score: null,
    prompt: null,
  };
  reset();
  put(state.doc, object);
  state.selected = object.uid;
  changed("selection");
}

function reset() {
  corners = [];
  isDown = false;
  changed("tool");
  redraw();
}

export const polygon = {
  name: "polygon",
  cursor: "crosshair",
  hint() {
    if (corners.length === 0) return isTouch() ? "Tap corners, or drag along the edge." : "Click corners, or drag along the edge.";
    if (corners.length < 3) return isTouch() ? "Tap the next corner." : "Click the next corner. Backspace takes one back.";
    if (isTouch()) return "Finish, or the first corner, closes the outline.";
    return "Enter, a double click or the first corner closes the outline.";
  },
  isBusy: () => corners.length > 0,
  down(at, event) {
    if (isNearFirst(at, event)) return close();
    const last = corners.at(-1);
    const isDouble = last && performance.now() - lastUp < DOUBLE_MS && distance(at, last) < 6;
    if (isDouble && corners.length >= 3) return close();
    if (isDouble) return undefined;
    corners.push(inside(at));
    isDown = true;
    if (corners.length === 1 || corners.length === 3) changed("tool");
    return redraw();
  },
  move(at) {
    if (!isDown) return;
    hover = at;
    if (distance(at, corners.at(-1)) >= STRIDE) corners.push(inside(at));
    redraw();
  },
  up(at, event) {
    if (!isDown) return;
    isDown = false;
    lastUp = performance.now();
    if (corners.length > 4 && isNearFirst(at, event)) close();
  },
  hover(at) {
    hover = at;
    if (corners.length > 0) redraw();
  },
  cancel() {
    // A second finger came down: the corner of the first was not meant.
    if (isDown) corners.pop();
    isDown = false;
    redraw();
  },
  enter() {
    if (corners.length > 0) close();
    return true;
  },
  escape: reset,
  back() {
    corners.pop();
    changed("tool");
    redraw();
  },
  leave: reset,
  draw(context) {
    if (corners.length === 0) return;
    const points = corners.map(toScreen);
    context.beginPath();
    points.forEach((point, i) => (i === 0 ? context.moveTo(point.x, point.y) : context.lineTo(point.x, point.y)));
    if (hover) {
      const end = toScreen(hover);
      context.lineTo(end.x, end.y);
    }
    context.lineJoin = "round";
    context.lineWidth = 3.5;
    context.strokeStyle = "rgba(0, 0, 0, 0.65)";
    context.stroke();
    context.lineWidth = 1.5;
    context.strokeStyle = "#ffffff";
    context.stroke();
    points.forEach((point, i) => drawHandle(context, point, { radius: i === 0 ? 6 : 3.5 }));
  },
};
