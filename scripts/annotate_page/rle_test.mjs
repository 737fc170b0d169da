// Compares the page's masks with pycocotools'.
//
//     python scripts/annotate_page/rle_cases.py > /tmp/cases.json
//     node scripts/annotate_page/rle_test.mjs /tmp/cases.json

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { area, bitsOfPolygons, borders, cropped, paint } from "../../src/annotate/page/raster.js";
import { decode, decodeCounts, encode, encodeCounts } from "../../src/annotate/page/rle.js";

const cases = JSON.parse(readFileSync(process.argv[2], "utf8"));

for (const { size, counts, pixels } of cases.masks) {
  const [height, width] = size;
  const bits = decode({ size, counts });
  assert.equal(encode(bits, height, width).counts, counts, `encode ${size}`);
  assert.equal(encodeCounts(decodeCounts(counts)), counts);
  if (pixels === null) continue;
  const found = Array.from({ length: height * width }, () => "0");
  for (let y = 0; y < bits.h; y += 1) {
    for (let x = 0; x < bits.w; x += 1) found[(bits.y + y) * width + bits.x + x] = String(bits.data[y * bits.w + x]);
  }
  assert.equal(found.join(""), pixels, `decode ${size}`);
  const whole = Uint8Array.from(pixels, Number);
  const cut = cropped(whole, width, { x0: 0, y0: 0, x1: width, y1: height });
  assert.deepEqual(cut, bits, "the smallest rectangle");
  assert.equal(encode({ x: 0, y: 0, w: width, h: height, data: whole }, height, width).counts, counts, "uncut");
}

for (const { size, points, counts } of cases.polygons) {
  const bits = bitsOfPolygons([points], size[0], size[1]);
  assert.equal(encode(bits, size[0], size[1]).counts, counts, `polygon ${points} on ${size}`);
}

for (const bad of ["~", "1 ", "o", "oooooooooooo1"]) assert.throws(() => decodeCounts(bad), bad);
assert.throws(() => decode({ size: [3, 3], counts: encodeCounts([4]) }), /add up to 4/);

const dot = new Uint8Array(100);
const touched = paint(dot, 10, 10, { a: { x: 5, y: 5 }, b: { x: 5, y: 5 }, radius: 1, value: 1 });
assert.equal(dot.reduce((a, b) => a + b), 4);
assert.deepEqual(borders(cropped(dot, 10, touched)).map((loop) => loop.length), [8], "a square has four corners");

// The borders enclose exactly the pixels: the area by the shoelace formula, holes being counted off.
for (const { size, counts } of cases.masks.slice(0, 200)) {
  const bits = decode({ size, counts });
  const twice = borders(bits).map((loop) => {
    let sum = 0;
    for (let i = 0; i < loop.length; i += 2) {
      const [x, y, nextX, nextY] = [loop[i], loop[i + 1], loop[(i + 2) % loop.length], loop[(i + 3) % loop.length]];
      assert.ok((x === nextX) !== (y === nextY), "every piece is straight");
      sum += x * nextY - nextX * y;
    }
    return sum;
  });
  assert.equal(Math.abs(twice.reduce((a, b) => a + b, 0)) / 2, area(bits), `borders of ${size}`);
}

console.log(`${cases.masks.length} masks and ${cases.polygons.length} polygons agree with pycocotools`);
