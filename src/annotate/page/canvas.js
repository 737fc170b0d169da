// Draws the image and, on a canvas above it, everything else.

import { bitsOf, canvasOf, fillOf, pathOf, rgb } from "./shapes.js";
import { category, on, state } from "./state.js";
import { asking } from "./prompt.js";
import { fit, resized, toScreen, view } from "./view.js";

let stage;
let drawTool = () => {};
let base;
let overlay;
let isBaseOld = true;
let isPlanned = false;
/** An object that is drawn instead of the one with its uid, while it is being changed. */
let preview = null;
/** The mask under the brush: { uid, canvas }. */
let painting = null;

const NEUTRAL = "#d0d4da";

/** Begins to draw; `draw` adds what the tool in hand shows. */
export function setUp(element, draw) {
  stage = element;
  drawTool = draw;
  base = stage.querySelector(".base");
  overlay = stage.querySelector(".overlay");
  new ResizeObserver(measure).observe(stage);
  on("doc selection display tool prompt brush session", () => redraw());
  on("image", () => {
    if (state.doc) fit(state.doc);
    redraw(true);
  });
  measure();
}

function measure() {
  const { clientWidth, clientHeight } = stage;
  if (clientWidth === 0 || clientHeight === 0) return;
  const dots = window.devicePixelRatio || 1;
  for (const canvas of [base, overlay]) {
    canvas.width = Math.round(clientWidth * dots);
    canvas.height = Math.round(clientHeight * dots);
  }
  resized(state.doc, clientWidth, clientHeight);
  isBaseOld = true;
  draw();
}

/** Draws with the next frame; the image only if it moved. */
export function redraw(hasMoved = false) {
  isBaseOld ||= hasMoved;
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(draw);
}

export function setPreview(object) {
  preview = object;
  redraw();
}

export function setPainting(value) {
  painting = value;
  redraw();
}

function draw() {
  isPlanned = false;
  if (isBaseOld) drawImage();
  isBaseOld = false;
  const context = overlay.getContext("2d");
  const dots = window.devicePixelRatio || 1;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, overlay.width, overlay.height);
  const { doc } = state;
  if (doc && !state.isHidden) {
    for (const object of drawn(doc)) drawObject(context, doc, object, dots);
    for (const object of doc.first ?? []) drawFirst(context, doc, object, dots);
    context.setTransform(dots, 0, 0, dots, 0, 0);
    drawPrompt(context, doc);
  }
  context.setTransform(dots, 0, 0, dots, 0, 0);
  if (doc) drawTool(context);
  publish(doc);
}

function drawImage() {
  const context = base.getContext("2d");
  const dots = window.devicePixelRatio || 1;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, base.width, base.height);
  const { doc } = state;
  if (!doc?.pixels) return;
  const scale = view.scale * dots;
  context.imageSmoothingEnabled = scale < 3;
  context.imageSmoothingQuality = "high";
  context.setTransform(scale, 0, 0, scale, view.x * dots, view.y * dots);
  context.drawImage(doc.pixels, 0, 0, doc.width, doc.height);
}

on("display", () => {
  const { brightness, contrast } = state.display;
  const isPlain = brightness === 100 && contrast === 100;
  base.style.filter = isPlain ? "none" : `brightness(${brightness}%) contrast(${contrast}%)`;
});

/** Objects in the order they are drawn: the selected one last. */
function drawn(doc) {
  const all = [...doc.now.objects, ...doc.now.proposals.map((object) => ({ ...object, isProposal: true }))];
  const shown = all.map((object) => (preview?.uid === object.uid ? preview : object));
  return shown.sort((a, b) => (a.uid === state.selected) - (b.uid === state.selected));
}

export const colourOf = (object) => category(object.category_id)?.colour ?? NEUTRAL;

function drawObject(context, doc, object, dots) {
  const colour = colourOf(object);
  const isSelected = object.uid === state.selected;
  const scale = view.scale * dots;
  context.setTransform(scale, 0, 0, scale, view.x * dots, view.y * dots);
  context.imageSmoothingEnabled = false;
  const { opacity, outlines } = state.display;
  if (painting?.uid === object.uid) {
    context.globalAlpha = Math.max(0.25, opacity / 100);
    context.drawImage(painting.canvas, 0, 0);
    context.globalAlpha = 1;
    return;
  }
  const hasFill = !outlines && (object.mask || object.polygons);
  if (hasFill && object !== preview) {
    const fill = fillOf(doc, object, colour);
    context.globalAlpha = (opacity / 100) * (object.isProposal ? 0.6 : 1);
    if (fill) context.drawImage(fill.canvas, fill.x, fill.y);
    context.globalAlpha = 1;
  }
  const path = pathOf(doc, object);
  context.lineJoin = "round";
  context.setLineDash(object.isProposal ? [6 / view.scale, 4 / view.scale] : []);
  context.strokeStyle = "rgba(0, 0, 0, 0.65)";
  context.lineWidth = (isSelected ? 4.5 : 3) / view.scale;
  context.stroke(path);
  context.strokeStyle = isSelected ? mixed(colour) : colour;
  context.lineWidth = (isSelected ? 2.5 : 1.5) / view.scale;
  context.stroke(path);
  context.setLineDash([]);
}

/** An object of the first reading: a white, dotted outline. */
function drawFirst(context, doc, object, dots) {
  const scale = view.scale * dots;
  context.setTransform(scale, 0, 0, scale, view.x * dots, view.y * dots);
  context.setLineDash([2 / view.scale, 3 / view.scale]);
  context.lineWidth = 2 / view.scale;
  context.strokeStyle = "#ffffff";
  context.stroke(pathOf(doc, object));
  context.setLineDash([]);
}

/** A colour half way to white, for what is selected. */
function mixed(colour) {
  const [r, g, b] = rgb(colour).map((channel) => Math.round((channel + 255) / 2));
  return `rgb(${r}, ${g}, ${b})`;
}

function drawPrompt(context, doc) {
  const ask = asking(state.selected);
  const all = [...doc.now.objects, ...doc.now.proposals];
  const prompt = ask ?? all.find((object) => object.uid === state.selected)?.prompt;
  if (!prompt) return;
  if (prompt.bbox && ask) {
    const [a, b] = [toScreen({ x: prompt.bbox[0], y: prompt.bbox[1] }), toScreen({ x: prompt.bbox[2], y: prompt.bbox[3] })];
    drawBox(context, a, b);
  }
  for (const point of prompt.points ?? []) drawPoint(context, toScreen({ x: point.x + 0.5, y: point.y + 0.5 }), point);
}

/** A dashed box between two corners on the screen. */
export function drawBox(context, a, b) {
  const box = [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.abs(a.x - b.x), Math.abs(a.y - b.y)];
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0, 0, 0, 0.65)";
  context.strokeRect(...box);
  context.setLineDash([6, 4]);
  context.lineWidth = 1.5;
  context.strokeStyle = "#ffffff";
  context.strokeRect(...box);
  context.setLineDash([]);
}

function drawPoint(context, at, { positive }) {
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
export function drawHandle(context, at, { radius = 5, colour = "#ffffff", isHollow = false } = {}) {
  context.beginPath();
  context.arc(at.x, at.y, radius, 0, 2 * Math.PI);
  context.fillStyle = isHollow ? "rgba(0, 0, 0, 0.35)" : colour;
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = isHollow ? "rgba(255, 255, 255, 0.8)" : "rgba(0, 0, 0, 0.75)";
  context.stroke();
}

/** Where things are, for tests and other programs: screen = rectangle of the canvas + offset + scale · pixel. */
function publish(doc) {
  const facts = {
    imageId: doc?.id ?? "",
    ready: Boolean(doc?.pixels),
    scale: view.scale,
    offsetX: view.x,
    offsetY: view.y,
    objects: doc?.now.objects.length ?? 0,
    proposals: doc?.now.proposals.length ?? 0,
    selected: state.selected ?? "",
    asking: Boolean(asking(state.selected)) || state.isAsking,
    hidden: state.isHidden,
  };
  for (const [name, value] of Object.entries(facts)) {
    if (stage.dataset[name] !== String(value)) stage.dataset[name] = String(value);
  }
}

/** A canvas as large as the image with an object's pixels, to paint on; and its pixels. */
export function paintable(doc, object, colour) {
  const data = new Uint8Array(doc.width * doc.height);
  const canvas = canvasOf(doc.width, doc.height);
  const context = canvas.getContext("2d", { willReadFrequently: false });
  if (object) {
    const bits = bitsOf(doc, object);
    for (let row = 0; row < bits.h; row += 1) {
      const from = bits.data.subarray(row * bits.w, (row + 1) * bits.w);
      data.set(from, (bits.y + row) * doc.width + bits.x);
    }
    const fill = fillOf(doc, object, colour);
    if (fill) context.drawImage(fill.canvas, fill.x, fill.y);
  }
  return { data, canvas, context };
}
