// What the model finds by itself: proposals, which become objects only when somebody accepts them.

import * as api from "./api.js";
import { edit } from "./documents.js";
import { say } from "./panels/notice.js";
import { decode } from "./rle.js";
import { category, changed, newId, state } from "./state.js";

export async function ask(doc) {
  if (!state.session.model) return say("Drafts need a model. Start the annotator with one.");
  if (state.isAsking) return undefined;
  state.isAsking = true;
  changed("prompt");
  try {
    take(doc, await api.drafts(doc.id));
  } catch (error) {
    say(`The model did not answer: ${error.message}`, { kind: "error" });
  }
  state.isAsking = false;
  changed("prompt");
  return undefined;
}

function take(doc, reply) {
  const proposals = (reply.objects ?? []).filter((one) => decode(one.mask).w > 0).map((one) => ({
    uid: newId(),
    category_id: category(one.category_id) ? one.category_id : state.categoryId,
    mask: one.mask,
    bbox: one.bbox,
    iscrowd: false,
    polygons: null,
    source: "draft",
    score: one.score ?? null,
    prompt: null,
  }));
  if (reply.labels || reply.scores) {
    doc.labels = { labels: reply.labels ?? [], scores: reply.scores ?? {} };
    changed("doc");
    return;
  }
  if (proposals.length === 0) {
    say("The model found nothing in this image.");
    return;
  }
  edit(doc, { proposals });
  if (state.doc === doc) select(proposals[0].uid);
}

function select(uid) {
  state.selected = uid;
  changed("selection");
}

/** The selected proposal, or the first. */
function current(doc) {
  const { proposals } = doc.now;
  return proposals.find((one) => one.uid === state.selected) ?? proposals[0] ?? null;
}

function afterwards(doc, place) {
  const { proposals } = doc.now;
  select(proposals[Math.min(place, proposals.length - 1)]?.uid ?? null);
}

export function accept(doc, uid) {
  const one = doc.now.proposals.find((proposal) => proposal.uid === uid) ?? current(doc);
  if (!one) return;
  const place = doc.now.proposals.indexOf(one);
  edit(doc, {
    objects: [...doc.now.objects, one],
    proposals: doc.now.proposals.filter((proposal) => proposal !== one),
  });
  afterwards(doc, place);
}

export function acceptAll(doc) {
  if (doc.now.proposals.length === 0) return;
  edit(doc, { objects: [...doc.now.objects, ...doc.now.proposals], proposals: [] });
  select(null);
}

export function reject(doc, uid) {
  const one = doc.now.proposals.find((proposal) => proposal.uid === uid) ?? current(doc);
  if (!one) return;
  const place = doc.now.proposals.indexOf(one);
  edit(doc, { proposals: doc.now.proposals.filter((proposal) => proposal !== one) });
  afterwards(doc, place);
}

export function rejectAll(doc) {
  if (doc.now.proposals.length > 0) edit(doc, { proposals: [] });
}

/** Labels the whole image: an object that is a box around it. */
export function label(doc, categoryId) {
  const object = {
    uid: newId(),
    category_id: categoryId,
    mask: null,
    bbox: [0, 0, doc.width, doc.height],
    iscrowd: false,
    polygons: null,
    source: "draft",
    score: doc.labels?.scores[categoryId] ?? null,
    prompt: null,
  };
  edit(doc, { objects: [...doc.now.objects, object] });
}
