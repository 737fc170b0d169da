// The images that were opened, with what the person made of them. Snapshots never change, so that undoing is
// putting an old one back: { objects, proposals, status }.

import * as api from "./api.js";
import { bitsOf } from "./shapes.js";
import { changed, entry, state } from "./state.js";

const docs = new Map();

/** What wants to hear of every change; see save.js. */
let saver = () => {};
export function onEdit(listener) {
  saver = listener;
}

export const known = (id) => docs.get(id) ?? null;
export const all = () => [...docs.values()];

/** The document of an image; read from the server unless it is there. */
export async function load(id) {
  const there = docs.get(id);
  if (there && !(there.isStale && isClean(there))) return there;
  let fresh;
  try {
    fresh = await api.image(id);
  } catch (error) {
    // What was read before can be worked on while the server is away.
    if (there && error.status === 0) return there;
    throw error;
  }
  const doc = docs.get(id) ?? created(fresh);
  docs.set(id, doc);
  if (isClean(doc)) takeOver(doc, fresh);
  return doc;
}

function created(fresh) {
  const { id, name, width, height } = fresh;
  const listed = entry(id);
  return {
    id,
    name: name ?? listed?.name ?? "",
    width: width ?? listed?.width,
    height: height ?? listed?.height,
    revision: -1,
    now: { objects: [], proposals: [], status: "untouched" },
    notes: "",
    past: [],
    future: [],
    /** What the server has: content(), as acknowledged or read. */
    base: null,
    edits: 0,
    savedEdits: 0,
    isStale: false,
    labels: null,
  };
}

export const isClean = (doc) => doc.edits === doc.savedEdits;

/** Shows what the server has. A change by somebody else can be undone like one's own. */
export function takeOver(doc, fresh) {
  const next = { ...doc.now, objects: fresh.objects, status: fresh.status };
  if (doc.base && !sameContent(doc.base, fresh)) {
    doc.past.push(doc.now);
    doc.future = [];
  }
  doc.now = next;
  doc.notes = fresh.notes ?? "";
  doc.revision = fresh.revision;
  doc.base = content(doc);
  doc.savedEdits = doc.edits;
  doc.isStale = false;
  list(doc);
  changed("doc");
}

/** What is saved of a document. */
export function content(doc) {
  return { objects: doc.now.objects, status: doc.now.status, notes: doc.notes };
}

/** An image with objects is begun, and one without objects and notes is not. */
function settled(snapshot, notes) {
  const isEmpty = snapshot.objects.length === 0 && notes === "";
  if (snapshot.status === "untouched" && !isEmpty) return { ...snapshot, status: "draft" };
  if (snapshot.status === "draft" && isEmpty) return { ...snapshot, status: "untouched" };
  return snapshot;
}

/** Makes a change that can be undone. */
export function edit(doc, change) {
  const next = settled({ ...doc.now, ...change }, doc.notes);
  doc.past.push(doc.now);
  doc.future = [];
  become(doc, next);
}

export function setNotes(doc, notes) {
  doc.notes = notes;
  become(doc, settled(doc.now, notes), true);
}

/** Goes one step back. Whether there was one. */
export function undo(doc) {
  return step(doc, doc.past, doc.future);
}

export function redo(doc) {
  return step(doc, doc.future, doc.past);
}

function step(doc, from, to) {
  const next = from.pop();
  if (!next) return false;
  to.push(doc.now);
  become(doc, settled(next, doc.notes));
  return true;
}

function become(doc, next, hasNotes = false) {
  const before = doc.now;
  doc.now = next;
  const isSaved = before.objects !== next.objects || before.status !== next.status || hasNotes;
  if (isSaved) {
    doc.edits += 1;
    saver(doc);
  }
  list(doc);
  const isThere = [...next.objects, ...next.proposals].some((object) => object.uid === state.selected);
  if (state.doc === doc && state.selected && !isThere) {
    state.selected = null;
    changed("selection");
  }
  changed("doc");
}

/** Keeps the list of images up to date. */
function list(doc) {
  const listed = entry(doc.id);
  if (!listed) return;
  listed.status = doc.now.status;
  listed.objects = doc.now.objects.length;
  changed("images");
}

/** The list was read anew: what is not saved yet counts more. */
export function relist() {
  for (const doc of docs.values()) if (!isClean(doc)) list(doc);
}

export function find(doc, uid) {
  return doc.now.objects.find((object) => object.uid === uid) ?? null;
}

export function findProposal(doc, uid) {
  return doc.now.proposals.find((object) => object.uid === uid) ?? null;
}

/** Adds an object, or replaces the one with its uid. */
export function put(doc, object) {
  const there = doc.now.objects.some((one) => one.uid === object.uid);
  const objects = there
    ? doc.now.objects.map((one) => (one.uid === object.uid ? object : one))
    : [...doc.now.objects, object];
  const proposals = doc.now.proposals.filter((one) => one.uid !== object.uid);
  edit(doc, { objects, proposals });
}

export function sameShape(a, b) {
  if (a.polygons || b.polygons) return JSON.stringify(a.polygons) === JSON.stringify(b.polygons);
  if (a.mask || b.mask) return a.mask?.counts === b.mask?.counts;
  return JSON.stringify(a.bbox) === JSON.stringify(b.bbox);
}

/** What differs between two contents: lists of uids, and whether status and notes do. */
export function differences(mine, theirs) {
  const [a, b] = [mine, theirs].map((one) => new Map(one.objects.map((object) => [object.uid, object])));
  const both = [...a.keys()].filter((uid) => b.has(uid));
  return {
    onlyMine: [...a.keys()].filter((uid) => !b.has(uid)),
    onlyTheirs: [...b.keys()].filter((uid) => !a.has(uid)),
    shape: both.filter((uid) => !sameShape(a.get(uid), b.get(uid))),
    category: both.filter((uid) => a.get(uid).category_id !== b.get(uid).category_id),
    hasStatus: mine.status !== theirs.status,
    hasNotes: (mine.notes ?? "") !== (theirs.notes ?? ""),
  };
}

export function sameContent(a, b) {
  const { hasStatus, hasNotes, ...lists } = differences(a, b);
  return !hasStatus && !hasNotes && Object.values(lists).every((list) => list.length === 0);
}

/** The topmost object or proposal at a pixel; the smallest of those that overlap. */
export function objectAt(doc, { x, y }, hits) {
  const found = [...doc.now.proposals, ...doc.now.objects].filter((object) => hits(doc, object, x, y));
  found.sort((a, b) => sizeOf(doc, a) - sizeOf(doc, b));
  return found[0] ?? null;
}

function sizeOf(doc, object) {
  const bits = bitsOf(doc, object);
  return bits.w * bits.h;
}
