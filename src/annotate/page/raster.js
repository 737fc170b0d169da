// Masks from outlines and strokes, and outlines of masks.

import { EMPTY, bitsOfCounts } from "./rle.js";

/** Steps per pixel at which COCO walks along an outline. */
const FINE = 5;

/** The pixels within one outline [x, y, …], by COCO's rule. */
function countsOfPolygon(outline, height, width) {
  const flips = crossings(outline, height, width).sort((a, b) => a - b);
  const counts = [];
  let since = 0;
  for (let i = 0; i < flips.length; ) {
    let same = i + 1;
    while (same < flips.length && flips[same] === flips[i]) same += 1;
    // Two flips at one place undo each other.
    if ((same - i) % 2 === 1 && flips[i] < height * width) {
      counts.push(flips[i] - since);
      since = flips[i];
    }
    i = same;
  }
  counts.push(height * width - since);
  return counts;
}

/** Where the inside begins or ends, counted down the columns. */
function crossings(outline, height, width) {
  const found = [];
  const points = walk(outline);
  for (let i = 1; i < points.length; i += 1) {
    const [[u0, v0], [u, v]] = [points[i - 1], points[i]];
    if (u === u0) continue;
    const column = (Math.min(u, u0 < u ? u - 1 : u) + 0.5) / FINE - 0.5;
    if (!Number.isInteger(column) || column < 0 || column > width - 1) continue;
    const row = Math.ceil(Math.min(Math.max((Math.min(v, v0) + 0.5) / FINE - 0.5, 0), height));
    found.push(column * height + row);
  }
  return found;
}

/** Every step along an outline on the fine grid. */
function walk(outline) {
  const fine = [];
  for (let i = 0; i + 1 < outline.length; i += 2) {
    fine.push([Math.trunc(outline[i] * FINE + 0.5), Math.trunc(outline[i + 1] * FINE + 0.5)]);
  }
  const steps = [];
  fine.forEach((from, i) => {
    const to = fine[(i + 1) % fine.length];
    const [dx, dy] = [Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    const isFlat = dx >= dy;
    const length = Math.max(dx, dy);
    const isBack = isFlat ? from[0] > to[0] : from[1] > to[1];
    const [a, b] = isBack ? [to, from] : [from, to];
    const slope = length === 0 ? 0 : (isFlat ? b[1] - a[1] : b[0] - a[0]) / length;
    for (let k = 0; k <= length; k += 1) {
      const t = isBack ? length - k : k;
      if (isFlat) steps.push([a[0] + t, Math.trunc(a[1] + slope * t + 0.5)]);
      else steps.push([Math.trunc(a[0] + slope * t + 0.5), a[1] + t]);
    }
  });
  return steps;
}

/** The pixels within outlines, all together. */
export function bitsOfPolygons(polygons, height, width) {
  const all = polygons.map((outline) => bitsOfCounts(countsOfPolygon(outline, height, width), height, width));
  return all.reduce(union, EMPTY);
}

/** The pixels of a box [x, y, width, height]. */
export function bitsOfBox([bx, by, bw, bh], height, width) {
  const [x, y] = [Math.max(0, Math.round(bx)), Math.max(0, Math.round(by))];
  const [w, h] = [Math.min(width, Math.round(bx + bw)) - x, Math.min(height, Math.round(by + bh)) - y];
  return w > 0 && h > 0 ? { x, y, w, h, data: new Uint8Array(w * h).fill(1) } : EMPTY;
}

/** The outline [x, y, …] of an ellipse in a box [x0, y0, x1, y1]. */
export function ellipse([x0, y0, x1, y1], corners = 32) {
  const outline = [];
  for (let i = 0; i < corners; i += 1) {
    const angle = (i / corners) * 2 * Math.PI;
    const x = (x0 + x1) / 2 + (Math.cos(angle) * (x1 - x0)) / 2;
    const y = (y0 + y1) / 2 + (Math.sin(angle) * (y1 - y0)) / 2;
    outline.push(Math.round(x * 10) / 10, Math.round(y * 10) / 10);
  }
  return outline;
}

function union(a, b) {
  if (a.w === 0) return b;
  if (b.w === 0) return a;
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  const [w, h] = [Math.max(a.x + a.w, b.x + b.w) - x, Math.max(a.y + a.h, b.y + b.h) - y];
  const data = new Uint8Array(w * h);
  for (const bits of [a, b]) {
    for (let row = 0; row < bits.h; row += 1) {
      const to = (bits.y + row - y) * w + bits.x - x;
      for (let i = 0; i < bits.w; i += 1) data[to + i] |= bits.data[row * bits.w + i];
    }
  }
  return { x, y, w, h, data };
}

/** Cuts `data` of a whole image (row by row) to the pixels that are set within a rectangle. */
export function cropped(data, width, { x0, y0, x1, y1 }) {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  for (let y = y0; y < y1; y += 1) {
    for (let x = x0; x < x1; x += 1) {
      if (data[y * width + x]) {
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
      }
    }
  }
  if (right < 0) return EMPTY;
  const [w, h] = [right - left + 1, bottom - top + 1];
  const cut = new Uint8Array(w * h);
  for (let row = 0; row < h; row += 1) {
    const from = (top + row) * width + left;
    cut.set(data.subarray(from, from + w), row * w);
  }
  return { x: left, y: top, w, h, data: cut };
}

/** Sets the pixels whose centre lies within `radius` of the line from a to b. The rectangle that was touched. */
export function paint(data, width, height, { a, b, radius, value }) {
  const x0 = Math.max(0, Math.floor(Math.min(a.x, b.x) - radius));
  const y0 = Math.max(0, Math.floor(Math.min(a.y, b.y) - radius));
  const x1 = Math.min(width, Math.ceil(Math.max(a.x, b.x) + radius) + 1);
  const y1 = Math.min(height, Math.ceil(Math.max(a.y, b.y) + radius) + 1);
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const square = dx * dx + dy * dy;
  for (let y = y0; y < y1; y += 1) {
    for (let x = x0; x < x1; x += 1) {
      const [px, py] = [x + 0.5 - a.x, y + 0.5 - a.y];
      const t = square > 0 ? Math.min(1, Math.max(0, (px * dx + py * dy) / square)) : 0;
      const [ex, ey] = [px - t * dx, py - t * dy];
      if (ex * ex + ey * ey <= radius * radius) data[y * width + x] = value;
    }
  }
  return { x0, y0, x1: Math.max(x0, x1), y1: Math.max(y0, y1) };
}

export function contains(bits, x, y) {
  const [column, row] = [Math.floor(x) - bits.x, Math.floor(y) - bits.y];
  return column >= 0 && row >= 0 && column < bits.w && row < bits.h && bits.data[row * bits.w + column] === 1;
}

export function area(bits) {
  let sum = 0;
  for (const value of bits.data) sum += value;
  return sum;
}

/** The borders between inside and outside as closed lines [x, y, …] along the edges of pixels. */
export function borders(bits) {
  const starts = new Map();
  for (const line of [...edges(bits, true), ...edges(bits, false)]) {
    const key = `${line[0]},${line[1]}`;
    if (!starts.has(key)) starts.set(key, []);
    starts.get(key).push(line);
  }
  const loops = [];
  for (const lines of starts.values()) {
    while (lines.length > 0) {
      const loop = [];
      let line = lines.pop();
      while (line) {
        loop.push(line[0], line[1]);
        line = starts.get(`${line[2]},${line[3]}`)?.pop();
      }
      loops.push(loop);
    }
  }
  return loops;
}

/** Straight pieces [x0, y0, x1, y1] of the borders in one direction, the inside always on the same hand. */
function edges({ x, y, w, h, data }, isFlat) {
  const [long, wide] = isFlat ? [w, h] : [h, w];
  const lines = [];
  const at = (along, across) => {
    if (across < 0 || across >= wide || along >= long) return 0;
    return data[isFlat ? across * w + along : along * w + across];
  };
  for (let across = 0; across <= wide; across += 1) {
    let start = 0;
    let side = 0;
    for (let along = 0; along <= long; along += 1) {
      const next = at(along, across) - at(along, across - 1);
      if (next === side) continue;
      if (side !== 0) {
        const [from, to] = (side > 0) === isFlat ? [start, along] : [along, start];
        lines.push(isFlat ? [x + from, y + across, x + to, y + across] : [x + across, y + from, x + across, y + to]);
      }
      start = along;
      side = next;
    }
  }
  return lines;
}
