// What objects look like: their pixels, borders and fillings, computed once and kept for a while.

import { decode, encode, EMPTY } from "./rle.js";
import { bitsOfBox, bitsOfPolygons, borders, contains } from "./raster.js";

/** Kept shapes and their pixels in sum at most; the oldest go first. */
const MAX_SHAPES = 500;
const MAX_PIXELS = 60_000_000;

const shapes = new Map();
let pixels = 0;

const keyOf = (object) => object.polygons ?? object.mask ?? object.bbox;

function shapeOf(doc, object) {
  const key = keyOf(object);
  let shape = shapes.get(key);
  if (shape) {
    shapes.delete(key);
  } else {
    shape = { bits: rasterized(doc, object), path: null, fills: new Map() };
    pixels += shape.bits.data.length;
  }
  shapes.set(key, shape);
  while (shapes.size > MAX_SHAPES || (pixels > MAX_PIXELS && shapes.size > 1)) {
    const [oldest, dropped] = shapes.entries().next().value;
    shapes.delete(oldest);
    pixels -= dropped.bits.data.length;
  }
  return shape;
}

function rasterized(doc, object) {
  if (object.mask) return decode(object.mask);
  if (object.polygons) return bitsOfPolygons(object.polygons, doc.height, doc.width);
  return object.bbox ? bitsOfBox(object.bbox, doc.height, doc.width) : EMPTY;
}

/** The pixels of an object. */
export const bitsOf = (doc, object) => shapeOf(doc, object).bits;

/** The mask of an object for the server, also if it was drawn as outlines. */
export function maskOf(doc, object) {
  return object.mask ?? encode(bitsOf(doc, object), doc.height, doc.width);
}

/** The outline of an object, in pixels of the image. */
export function pathOf(doc, object) {
  const shape = shapeOf(doc, object);
  if (!shape.path) {
    shape.path = new Path2D();
    if (object.polygons) object.polygons.forEach((outline) => addOutline(shape.path, outline));
    else if (object.mask) borders(shape.bits).forEach((loop) => addOutline(shape.path, loop));
    else if (object.bbox) shape.path.rect(...object.bbox);
  }
  return shape.path;
}

function addOutline(path, outline) {
  for (let i = 0; i + 1 < outline.length; i += 2) {
    if (i === 0) path.moveTo(outline[0], outline[1]);
    else path.lineTo(outline[i], outline[i + 1]);
  }
  path.closePath();
}

/** A canvas with the object's pixels in a colour; `null` if it has none. */
export function fillOf(doc, object, colour) {
  const { bits, fills } = shapeOf(doc, object);
  if (bits.w === 0) return null;
  if (!fills.has(colour)) fills.set(colour, filled(bits, colour));
  return { canvas: fills.get(colour), x: bits.x, y: bits.y };
}

export function rgb(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

export function canvasOf(width, height) {
  if (typeof OffscreenCanvas === "function") return new OffscreenCanvas(width, height);
  return Object.assign(document.createElement("canvas"), { width, height });
}

function filled(bits, colour) {
  const canvas = canvasOf(bits.w, bits.h);
  const context = canvas.getContext("2d");
  const image = context.createImageData(bits.w, bits.h);
  const words = new Uint32Array(image.data.buffer);
  const [r, g, b] = rgb(colour);
  const word = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  for (let i = 0; i < words.length; i += 1) if (bits.data[i]) words[i] = word;
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Whether a pixel is the object's; a box is hit anywhere within. */
export function hits(doc, object, x, y) {
  return contains(bitsOf(doc, object), x, y);
}
