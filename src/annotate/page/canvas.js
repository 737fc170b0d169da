// The stage: the image on one canvas and, on another above it, everything else.

import { Layer } from "./layers.js";
import { drawBox, drawFirst, drawObject, drawPainting, drawPoint } from "./paint.js";
import { asking } from "./prompt.js";
import { bitsOf, canvasOf, fillOf } from "./shapes.js";
import { on, state } from "./state.js";
import { fit, resized, toScreen, view } from "./view.js";

let stage;
let drawTool = () => {};
let base;
let overlay;
let isBaseOld = true;
let isPlanned = false;
/** An object that is drawn instead of the one with its uid, while it is being changed. */
let preview = null;
/** The mask under the brush: { uid, canvas, box }, the box being what of it is set. */
let painting = null;

const pictureLayer = new Layer(paintPicture, () => redraw(true));
const objectLayer = new Layer(paintObjects, () => redraw());

/** Begins to draw; `draw` adds what the tool in hand shows. */
export function setUp(element, draw) {
  stage = element;
  drawTool = draw;
  base = stage.querySelector(".base");
  overlay = stage.querySelector(".overlay");
  new ResizeObserver(measure).observe(stage);
  on("doc selection display session", () => {
    objectLayer.forget();
    redraw();
  });
  on("tool prompt brush", () => redraw());
  on("display", setLook);
  on("image", () => {
    if (state.doc) fit(state.doc);
    pictureLayer.forget();
    objectLayer.forget();
    redraw(true);
  });
  measure();
}

function setLook() {
  const { brightness, contrast } = state.display;
  const isPlain = brightness === 100 && contrast === 100;
  base.style.filter = isPlain ? "none" : `brightness(${brightness}%) contrast(${contrast}%)`;
}

const dotsOf = () => window.devicePixelRatio || 1;

function measure() {
  const { clientWidth, clientHeight } = stage;
  if (clientWidth === 0 || clientHeight === 0) return;
  for (const canvas of [base, overlay]) {
    canvas.width = Math.round(clientWidth * dotsOf());
    canvas.height = Math.round(clientHeight * dotsOf());
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
  if (preview?.uid !== object?.uid) objectLayer.forget();
  preview = object;
  redraw();
}

export function setPainting(value) {
  if (painting?.uid !== value?.uid) objectLayer.forget();
  painting = value;
  redraw();
}

function cleared(canvas) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}

function draw() {
  isPlanned = false;
  const { doc } = state;
  const dots = dotsOf();
  if (isBaseOld) {
    const context = cleared(base);
    if (doc?.pixels) pictureLayer.draw(context, doc, dots);
  }
  isBaseOld = false;
  const context = cleared(overlay);
  if (doc && !state.isHidden) {
    objectLayer.draw(context, doc, dots);
    const scale = view.scale * dots;
    context.setTransform(scale, 0, 0, scale, Math.round(view.x * dots), Math.round(view.y * dots));
    if (painting?.box) drawPainting(context, painting.canvas, painting.box);
    if (preview) drawObject(context, doc, preview, { isMoving: true });
    context.setTransform(dots, 0, 0, dots, 0, 0);
    drawPrompt(context, doc);
  }
  context.setTransform(dots, 0, 0, dots, 0, 0);
  if (doc) drawTool(context);
  publish(doc);
}

function paintPicture(context) {
  const { pixels, width, height } = state.doc;
  context.imageSmoothingEnabled = view.scale * dotsOf() < 3;
  context.imageSmoothingQuality = "high";
  context.drawImage(pixels, 0, 0, width, height);
}

/** All objects but the one that is being changed; the selected one last. */
function paintObjects(context) {
  const { doc, selected } = state;
  const proposals = new Set(doc.now.proposals);
  const changing = painting?.uid ?? preview?.uid;
  [...doc.now.objects, ...proposals]
    .filter(({ uid }) => uid !== changing)
    .sort((a, b) => (a.uid === selected) - (b.uid === selected))
    .forEach((object) => drawObject(context, doc, object, { isProposal: proposals.has(object) }));
  for (const object of doc.first ?? []) drawFirst(context, doc, object);
}

function drawPrompt(context, doc) {
  const ask = asking(state.selected);
  const all = [...doc.now.objects, ...doc.now.proposals];
  const prompt = ask ?? all.find((object) => object.uid === state.selected)?.prompt;
  if (!prompt) return;
  if (prompt.bbox && ask) {
    const [x0, y0, x1, y1] = prompt.bbox;
    drawBox(context, toScreen({ x: x0, y: y0 }), toScreen({ x: x1, y: y1 }));
  }
  for (const point of prompt.points ?? []) drawPoint(context, toScreen({ x: point.x + 0.5, y: point.y + 0.5 }), point);
}

/** Where things are, for tests and other programs: screen = rectangle of the stage + offset + scale · pixel. */
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
