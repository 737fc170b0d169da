// What the page shows now, and who is told when it changes.

import { clamp } from "./view.js";

export const state = {
  session: null,
  /** Entries of the list, in the session's order. */
  images: [],
  order: "name",
  filter: "all",
  search: "",
  /** The open image; see documents.js. */
  doc: null,
  /** The uid of the selected object or proposal. */
  selected: null,
  tool: "point",
  /** Whether clicks add or remove, where there is no second button. */
  adds: true,
  shape: "box",
  categoryId: null,
  brush: 24,
  display: { brightness: 100, contrast: 100, opacity: 40, outlines: false },
  isHidden: false,
  /** "saved" | "saving" | "failed" | "conflict", with a reason. */
  save: { kind: "saved", reason: "" },
  connection: { kind: "ok", text: "" },
  isAsking: false,
};

/** A name for this tab; new after each load, so that what an old one left can be told apart. */
export const CLIENT = newId();

export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const listeners = new Map();
let waiting = new Set();

/** Calls `listener` after any of the topics has changed; once for many changes at a time. */
export function on(topics, listener) {
  for (const topic of topics.split(" ")) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic).add(listener);
  }
}

export function changed(...topics) {
  if (waiting.size === 0) queueMicrotask(tell);
  topics.forEach((topic) => waiting.add(topic));
}

function tell() {
  const topics = waiting;
  waiting = new Set();
  const called = new Set();
  for (const topic of topics) {
    for (const listener of listeners.get(topic) ?? []) called.add(listener);
  }
  for (const listener of called) listener();
}

const LIMITS = { brightness: [20, 300], contrast: [20, 300], opacity: [0, 100] };

export function setDisplay(change) {
  for (const [name, value] of Object.entries(change)) {
    state.display[name] = LIMITS[name] ? clamp(Math.round(value), ...LIMITS[name]) : value;
  }
  remember();
  changed("display");
}

export function setBrush(size) {
  state.brush = clamp(Math.round(size), 1, 400);
  remember();
  changed("brush");
}

const KEY = "sonotune.view";

function remember() {
  const { display, brush } = state;
  try {
    localStorage.setItem(KEY, JSON.stringify({ opacity: display.opacity, outlines: display.outlines, brush }));
  } catch {
    // A browser without storage forgets the view; nothing else depends on it.
  }
}

/** Takes over how the last visit looked. Brightness and contrast begin anew: they would surprise. */
export function recall() {
  try {
    const { opacity, outlines, brush } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if (Number.isFinite(opacity)) state.display.opacity = clamp(opacity, 0, 100);
    if (typeof outlines === "boolean") state.display.outlines = outlines;
    if (Number.isFinite(brush)) state.brush = clamp(brush, 1, 400);
  } catch {
    localStorage.removeItem(KEY);
  }
}

/** Fingers have no right button and no keys. */
export const isTouch = () => matchMedia("(pointer: coarse)").matches;

export const category = (id) => state.session?.categories.find((one) => one.id === id) ?? null;
export const entry = (id) => state.images.find((image) => image.id === id) ?? null;
export const takesPrompts = () => Boolean(state.session?.model?.takes_prompts);
