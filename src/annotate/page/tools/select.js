// Selects objects, and moves the corners of outlines and boxes.

import { setPreview } from "../canvas.js";
import { drawHandle } from "../paint.js";
import { find, objectAt, put } from "../documents.js";
import { hits } from "../shapes.js";
import { changed, state } from "../state.js";
import { clamp, toScreen, view } from "../view.js";
import { pan } from "./pan.js";

const REACH = 9;
const TOUCH_REACH = 20;
/** Room between two corners on the screen from which on a new one can be pulled out. */
const ROOM = 34;

/** What is dragged: { object, outline, corner } of an outline, or { object, sides } of a box. */
let drag = null;
let changedObject = null;
let isPanning = false;

const cornersOf = (outline) => {
  const corners = [];
  for (let i = 0; i + 1 < outline.length; i += 2) corners.push({ x: outline[i], y: outline[i + 1] });
  return corners;
};

/** The four corners of a box, each with the sides that it moves. */
function boxCorners([x, y, w, h]) {
  return [
    { x, y, sides: ["x0", "y0"] },
    { x: x + w, y, sides: ["x1", "y0"] },
    { x: x + w, y: y + h, sides: ["x1", "y1"] },
    { x, y: y + h, sides: ["x0", "y1"] },
  ];
}

/** Corners that can be moved, and middles from which new ones can be pulled. */
function handles(object) {
  if (!object) return [];
  if (!object.polygons) return object.mask || !object.bbox ? [] : boxCorners(object.bbox);
  return object.polygons.flatMap((points, outline) => {
    const corners = cornersOf(points);
    return corners.flatMap((corner, i) => {
      const next = corners[(i + 1) % corners.length];
      const hasRoom = Math.hypot(next.x - corner.x, next.y - corner.y) * view.scale > ROOM;
      const middle = { x: (corner.x + next.x) / 2, y: (corner.y + next.y) / 2, outline, corner: i + 1, isNew: true };
      const own = { ...corner, outline, corner: i };
      return hasRoom ? [own, middle] : [own];
    });
  });
}

function handleAt(object, at, event) {
  const reach = event.pointerType === "touch" ? TOUCH_REACH : REACH;
  const near = handles(object)
    .map((handle) => ({ handle, distance: Math.hypot(handle.x - at.x, handle.y - at.y) * view.scale }))
    .filter(({ distance }) => distance <= reach)
    .sort((a, b) => a.distance - b.distance || Boolean(a.handle.isNew) - Boolean(b.handle.isNew));
  return near[0]?.handle ?? null;
}

const boundsOf = (polygons) => {
  const corners = polygons.flatMap(cornersOf);
  const [xs, ys] = [corners.map(({ x }) => x), corners.map(({ y }) => y)];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  return [x, y, Math.max(...xs) - x, Math.max(...ys) - y];
};

function reshaped(object, polygons) {
  const bbox = boundsOf(polygons);
  return { ...object, polygons, mask: null, bbox, source: "manual" };
}

function moved(at) {
  const { width, height } = state.doc;
  const { object, handle } = drag;
  const [x, y] = [clamp(at.x, 0, width), clamp(at.y, 0, height)].map((value) => Math.round(value * 10) / 10);
  if (handle.sides) {
    const [bx, by, bw, bh] = object.bbox;
    const box = { x0: bx, y0: by, x1: bx + bw, y1: by + bh };
    const [horizontal, vertical] = handle.sides;
    box[horizontal] = Math.round(x);
    box[vertical] = Math.round(y);
    const [left, right] = [box.x0, box.x1].sort((a, b) => a - b);
    const [top, bottom] = [box.y0, box.y1].sort((a, b) => a - b);
    return { ...object, bbox: [left, top, Math.max(1, right - left), Math.max(1, bottom - top)], source: "manual" };
  }
  const polygons = object.polygons.map((points, outline) => {
    if (outline !== handle.outline) return points;
    const next = [...points];
    next.splice(handle.corner * 2, handle.isNew ? 0 : 2, x, y);
    return next;
  });
  return reshaped(object, polygons);
}

const without = (points, corner) => [...points.slice(0, corner * 2), ...points.slice(corner * 2 + 2)];

function removeCorner(object, handle) {
  const points = object.polygons[handle.outline];
  if (points.length <= 6) return;
  const polygons = object.polygons.map((one) => (one === points ? without(points, handle.corner) : one));
  put(state.doc, reshaped(object, polygons));
}

export const select = {
  name: "select",
  cursor: "default",
  hint() {
    const object = state.doc && find(state.doc, state.selected);
    if (object?.polygons) return "Drag corners to move them, Alt+click removes one.";
    if (object && !object.mask) return "Drag the corners of the box.";
    return "Click an object to select it, drag to move the image.";
  },
  down(at, event) {
    const { doc } = state;
    const object = find(doc, state.selected);
    const handle = handleAt(object, at, event);
    if (handle && event.altKey && object.polygons && !handle.isNew) return removeCorner(object, handle);
    if (handle) {
      drag = { object, handle };
      return undefined;
    }
    isPanning = true;
    return pan.down(at);
  },
  move(at) {
    if (isPanning) return pan.move(at);
    if (!drag) return undefined;
    changedObject = moved(at);
    return setPreview(changedObject);
  },
  up(at, event, { isClick }) {
    if (isPanning && isClick) {
      const object = objectAt(state.doc, at, hits);
      state.selected = object?.uid ?? null;
      changed("selection");
    }
    const object = changedObject;
    this.cancel();
    if (object) put(state.doc, object);
  },
  cancel() {
    drag = null;
    changedObject = null;
    isPanning = false;
    pan.cancel();
    setPreview(null);
  },
  draw(context) {
    const object = changedObject ?? (state.doc && find(state.doc, state.selected));
    for (const handle of handles(object)) {
      drawHandle(context, toScreen(handle), { radius: handle.isNew ? 3.5 : 5, isHollow: handle.isNew });
    }
  },
};
