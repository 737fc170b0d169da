// Asks the model about clicks and boxes. Clicks that come while it thinks are asked together, next.

import * as api from "./api.js";
import { find, findProposal, put } from "./documents.js";
import { say } from "./panels/notice.js";
import { decode } from "./rle.js";
import { changed, newId, state } from "./state.js";
import { hits, maskOf } from "./shapes.js";
import { objectAt } from "./documents.js";

/** Questions by object: { doc, uid, points, bbox, categoryId, isNew, clickedAt, isRunning, isAgain, isDropped }. */
const asks = new Map();

/** The question about the selected object, for drawing. */
export const asking = (uid) => asks.get(uid) ?? null;

/** A click on the image: refines the selected object, or begins one. */
export function click(doc, pixel, positive) {
  const ask = asks.get(state.selected) ?? askFor(doc, pixel, positive);
  if (!ask) return;
  ask.points = [...ask.points, { ...pixel, positive }];
  run(ask);
}

function askFor(doc, pixel, positive) {
  let object = state.selected ? find(doc, state.selected) ?? findProposal(doc, state.selected) : null;
  if (!object && !positive) {
    object = objectAt(doc, { x: pixel.x + 0.5, y: pixel.y + 0.5 }, hits);
    if (!object) {
      say("First click on what to annotate. Then remove what is too much.");
      return null;
    }
  }
  const prompt = object?.prompt;
  return begin(doc, { uid: object?.uid, points: prompt?.points ?? [], bbox: prompt?.bbox ?? null, object });
}

/** A box on the image: always begins an object. */
export function box(doc, bbox) {
  run(begin(doc, { points: [], bbox }));
}

function begin(doc, { uid = newId(), points, bbox, object }) {
  const categoryId = object?.category_id ?? state.categoryId;
  const ask = { doc, uid, points, bbox, categoryId, isNew: !object };
  state.selected = uid;
  changed("selection");
  return ask;
}

async function run(ask) {
  ask.clickedAt = performance.now();
  asks.set(ask.uid, ask);
  changed("prompt");
  if (ask.isRunning) {
    ask.isAgain = true;
    return;
  }
  ask.isRunning = true;
  do {
    ask.isAgain = false;
    await askOnce(ask);
  } while (ask.isAgain && !ask.isDropped);
  if (asks.get(ask.uid) === ask) asks.delete(ask.uid);
  changed("prompt");
}

async function askOnce(ask) {
  const { doc, uid, points, bbox, categoryId, clickedAt } = ask;
  const object = find(doc, uid) ?? findProposal(doc, uid);
  const mask = object && (object.mask || object.polygons) ? maskOf(doc, object) : null;
  let reply;
  try {
    reply = await api.ask(doc.id, [{ points, bbox, mask, category_id: categoryId }]);
  } catch (error) {
    if (!ask.isDropped) say(`The model did not answer: ${error.message}`, { kind: "error" });
    return giveUp(ask);
  }
  if (ask.isDropped) return undefined;
  const answer = reply.objects[0];
  if (!answer || decode(answer.mask).w === 0) {
    say(object ? "With this click nothing would be left: it is taken back." : "The model found nothing there.");
    return giveUp(ask);
  }
  put(doc, {
    ...(object ?? { uid, iscrowd: false }),
    category_id: object?.category_id ?? categoryId,
    mask: answer.mask,
    bbox: answer.bbox,
    polygons: null,
    source: "model",
    score: answer.score ?? null,
    prompt: { points, bbox },
  });
  measure(clickedAt, reply.milliseconds);
  return undefined;
}

function giveUp(ask) {
  ask.isDropped = true;
  if (state.selected === ask.uid && ask.isNew && !find(ask.doc, ask.uid)) state.selected = null;
  changed("selection");
}

/** From the click to the mask on the screen; the detail has the model's part. */
function measure(start, milliseconds) {
  requestAnimationFrame(() => {
    performance.measure("click-to-mask", { start, end: performance.now(), detail: { milliseconds } });
  });
}

/** Forgets questions about an image: what they would answer is not wanted any more. */
export function dropAsks(doc) {
  for (const ask of asks.values()) {
    if (ask.doc === doc) {
      ask.isDropped = true;
      asks.delete(ask.uid);
      if (state.selected === ask.uid && !find(doc, ask.uid)) state.selected = null;
    }
  }
  changed("prompt", "selection");
}

/** Whether any question about the image is open. */
export const isAsking = (doc) => [...asks.values()].some((ask) => ask.doc === doc);
