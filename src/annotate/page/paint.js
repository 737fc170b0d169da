// Draws objects in pixels of the image, and marks in pixels of the screen.

import { fillOf, pathOf, rgb } from "./shapes.js";
import { category, state } from "./state.js";
import { view } from "./view.js";

const NEUTRAL = "#d0d4da";
const CASING = "rgba(0, 0, 0, 0.65)";

export const colourOf = (object) => category(object.category_id)?.colour ?? NEUTRAL;

/** An object: filled unless only outlines are wanted, or it is being moved. */
export function drawObject(context, doc, object, { isProposal = false, isMoving = false } = {}) {
  const colour = colourOf(object);
  const isSelected = object.uid === state.selected;
  const { opacity, outlines } = state.display;
  context.imageSmoothingEnabled = false;
  if (!outlines && !isMoving && (object.mask || object.polygons)) {
    const fill = fillOf(doc, object, colour);
    context.globalAlpha = (opacity / 100) * (isProposal ? 0.6 : 1);
    if (fill) context.drawImage(fill.canvas, fill.x, fill.y);
    context.globalAlpha = 1;
  }
  const path = pathOf(doc, object);
  context.lineJoin = "round";
  context.setLineDash(isProposal ? [6 / view.scale, 4 / view.scale] : []);
  context.strokeStyle = CASING;
  context.lineWidth = (isSelected ? 4.5 : 3) / view.scale;
  context.stroke(path);
  context.strokeStyle = isSelected ? lightened(colour) : colour;
  context.lineWidth = (isSelected ? 2.5 : 1.5) / view.scale;
  context.stroke(path);
  context.setLineDash([]);
}

/** An object of the first reading: a white, dotted outline. */
export function drawFirst(context, doc, object) {
  context.setLineDash([2 / view.scale, 3 / view.scale]);
  context.lineWidth = 2 / view.scale;
  context.strokeStyle = "#ffffff";
  context.stroke(pathOf(doc, object));
  context.setLineDash([]);
}

/** A part [x, y, width, height] of a mask that is being painted. */
export function drawPainting(context, canvas, { x0, y0, x1, y1 }) {
  const part = [x0, y0, x1 - x0, y1 - y0];
  if (part[2] <= 0 || part[3] <= 0) return;
  context.imageSmoothingEnabled = false;
  context.globalAlpha = Math.max(0.25, state.display.opacity / 100);
  context.drawImage(canvas, ...part, ...part);
  context.globalAlpha = 1;
}

function lightened(colour) {
  const [r, g, b] = rgb(colour).map((channel) => Math.round((channel + 255) / 2));
  return `rgb(${r}, ${g}, ${b})`;
}

/** A dashed box between two corners on the screen. */
export function drawBox(context, a, b) {
  const box = [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.abs(a.x - b.x), Math.abs(a.y - b.y)];
  context.lineWidth = 3;
  context.strokeStyle = CASING;
  context.strokeRect(...box);
  context.setLineDash([6, 4]);
  context.lineWidth = 1.5;
  context.strokeStyle = "#ffffff";
  context.strokeRect(...box);
  context.setLineDash([]);
}

/** A point of a prompt: its sign tells it apart without its colour. */
export function drawPoint(context, at, { positive }) {
  context.beginPath();
  context.arc(at.x, at.y, 6.5, 0, 2 * Math.PI);
  context.fillStyle = positive ? "#1a7f4b" : "#b3261e";
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = "#ffffff";
  context.stroke();
  context.beginPath();
  context.moveTo(at.x - 3, at.y);
  context.lineTo(at.x + 3, at.y);
  if (positive) {
    context.moveTo(at.x, at.y - 3);
    context.lineTo(at.x, at.y + 3);
  }
  context.stroke();
}

/** A round handle, for corners that can be moved. */
export function drawHandle(context, at, { radius = 5, isHollow = false } = {}) {
  context.beginPath();
  context.arc(at.x, at.y, radius, 0, 2 * Math.PI);
  context.fillStyle = isHollow ? "rgba(0, 0, 0, 0.35)" : "#ffffff";
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = isHollow ? "rgba(255, 255, 255, 0.8)" : "rgba(0, 0, 0, 0.75)";
  context.stroke();
}
