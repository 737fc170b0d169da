// COCO's compressed run lengths. A mask in memory is `bits`: the smallest rectangle around its pixels,
// { x, y, w, h, data } with data row by row, one byte (0 or 1) a pixel. Counts run down the columns.

export const EMPTY = Object.freeze({ x: 0, y: 0, w: 0, h: 0, data: new Uint8Array(0) });

/** The run lengths of a counts string; the first is background. Throws if the string is malformed. */
export function decodeCounts(text) {
  const counts = [];
  let at = 0;
  while (at < text.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      const code = text.charCodeAt(at) - 48;
      if (!(code >= 0 && code < 64) || shift > 30) throw new Error(`mask: counts are malformed at character ${at}`);
      at += 1;
      value |= (code & 31) << shift;
      more = (code & 32) !== 0;
      shift += 5;
      if (!more && (code & 16) !== 0 && shift < 32) value |= -1 << shift;
      if (more && at >= text.length) throw new Error("mask: counts end inside a number");
    }
    // From the fourth number on, the difference to the last count of the same kind is stored.
    if (counts.length > 2) value += counts[counts.length - 2];
    if (value < 0) throw new Error("mask: a count is negative");
    counts.push(value);
  }
  return counts;
}

/** The counts string of run lengths. */
export function encodeCounts(counts) {
  let text = "";
  for (let i = 0; i < counts.length; i += 1) {
    let value = i > 2 ? counts[i] - counts[i - 2] : counts[i];
    let more = true;
    while (more) {
      let code = value & 31;
      value >>= 5;
      more = (code & 16) !== 0 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      text += String.fromCharCode(code + 48);
    }
  }
  return text;
}

/** The mask of run lengths on an image of `height` × `width`. */
export function bitsOfCounts(counts, height, width) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total !== height * width) {
    throw new Error(`mask: counts add up to ${total}, but the image has ${height} × ${width} pixels`);
  }
  const box = boxOfCounts(counts, height);
  if (!box) return EMPTY;
  const { x, y, w, h } = box;
  const data = new Uint8Array(w * h);
  let at = 0;
  counts.forEach((count, i) => {
    if (i % 2 === 1) {
      let column = Math.floor(at / height);
      let row = at - column * height;
      for (let left = count; left > 0; ) {
        const length = Math.min(left, height - row);
        let index = (row - y) * w + column - x;
        for (let k = 0; k < length; k += 1, index += w) data[index] = 1;
        left -= length;
        column += 1;
        row = 0;
      }
    }
    at += count;
  });
  return { x, y, w, h, data };
}

function boxOfCounts(counts, height) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -1, -1];
  let at = 0;
  counts.forEach((count, i) => {
    if (i % 2 === 1 && count > 0) {
      const last = at + count - 1;
      const [first, end] = [Math.floor(at / height), Math.floor(last / height)];
      x0 = Math.min(x0, first);
      x1 = Math.max(x1, end);
      // A run over a column's end touches the bottom and the top.
      y0 = Math.min(y0, end > first ? 0 : at - first * height);
      y1 = Math.max(y1, end > first ? height - 1 : last - end * height);
    }
    at += count;
  });
  return x1 < 0 ? null : { x: x0, y: y0, w: x1 - x0 + 1, h: y1 - y0 + 1 };
}

/** The run lengths of a mask on an image of `height` × `width`. */
export function countsOfBits(bits, height, width) {
  const { x, y, w, h, data } = bits;
  const counts = [];
  let last = 0;
  let since = 0;
  const turn = (index, value) => {
    counts.push(index - since);
    since = index;
    last = value;
  };
  for (let column = 0; column < w; column += 1) {
    const start = (x + column) * height + y;
    for (let row = 0, i = column; row < h; row += 1, i += w) {
      if (data[i] !== last) turn(start + row, data[i]);
    }
    if (last === 1 && h < height) turn(start + h, 0);
  }
  const end = (x + w) * height;
  if (last === 1 && end < height * width) turn(end, 0);
  if (height * width > since || counts.length === 0) counts.push(height * width - since);
  return counts;
}

/** The mask of { size: [height, width], counts }. */
export function decode(rle) {
  const [height, width] = rle.size;
  return bitsOfCounts(decodeCounts(rle.counts), height, width);
}

/** { size, counts } of a mask on an image of `height` × `width`. */
export function encode(bits, height, width) {
  return { size: [height, width], counts: encodeCounts(countsOfBits(bits, height, width)) };
}
