// How long the person worked on an image: pauses do not count.

import { state } from "./state.js";

const PAUSE_MS = 30_000;

const spent = new Map();
let last = 0;
let lastId = null;

/** Something was done at the open image. */
export function tick() {
  const now = performance.now();
  const id = state.doc?.id ?? null;
  const gap = now - last;
  if (id !== null && id === lastId && gap < PAUSE_MS) spent.set(id, (spent.get(id) ?? 0) + gap / 1000);
  last = now;
  lastId = id;
}

/** The seconds that are not saved yet. */
export const secondsOf = (id) => Math.round((spent.get(id) ?? 0) * 10) / 10;

export function savedSeconds(id, seconds) {
  spent.set(id, Math.max(0, (spent.get(id) ?? 0) - seconds));
}
