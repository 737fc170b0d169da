// Where the image lies on the screen: screen = offset + scale · pixel, in CSS pixels of the stage.

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export const view = { scale: 1, x: 0, y: 0, width: 1, height: 1, isFitted: true };

const MARGIN = 12;

export function toImage(point) {
  return { x: (point.x - view.x) / view.scale, y: (point.y - view.y) / view.scale };
}

export function toScreen(point) {
  return { x: view.x + point.x * view.scale, y: view.y + point.y * view.scale };
}

function fittingScale(image) {
  const [width, height] = [view.width - 2 * MARGIN, view.height - 2 * MARGIN];
  return Math.max(0.01, Math.min(width / image.width, height / image.height));
}

export function fit(image) {
  view.scale = fittingScale(image);
  view.x = (view.width - image.width * view.scale) / 2;
  view.y = (view.height - image.height * view.scale) / 2;
  view.isFitted = true;
}

/** Zooms so that the pixel under `at` stays there. */
export function zoomTo(image, scale, at = { x: view.width / 2, y: view.height / 2 }) {
  const next = clamp(scale, Math.min(0.2, fittingScale(image) / 2), 40);
  const pixel = toImage(at);
  view.scale = next;
  view.x = at.x - pixel.x * next;
  view.y = at.y - pixel.y * next;
  keepInSight(image);
}

export function panBy(image, dx, dy) {
  view.x += dx;
  view.y += dy;
  keepInSight(image);
}

/** Never lets go of the image: at least 60 pixels of it stay on the screen. */
function keepInSight(image) {
  const [width, height] = [image.width * view.scale, image.height * view.scale];
  const keep = Math.min(60, width, height);
  view.x = clamp(view.x, keep - width, view.width - keep);
  view.y = clamp(view.y, keep - height, view.height - keep);
  view.isFitted = false;
}

/** The stage has another size now. */
export function resized(image, width, height) {
  const [dx, dy] = [(width - view.width) / 2, (height - view.height) / 2];
  view.width = width;
  view.height = height;
  if (!image) return;
  if (view.isFitted) fit(image);
  else panBy(image, dx, dy);
}
