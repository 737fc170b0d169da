// What keys and buttons do.

import * as api from "./api.js";
import { redraw } from "./canvas.js";
import { all, edit, find, findProposal, isClean, known, load, put, redo, undo } from "./documents.js";
import * as drafts from "./drafts.js";
import { say } from "./panels/notice.js";
import { stop } from "./pointer.js";
import { dropAsks } from "./prompt.js";
import { flush } from "./save.js";
import { changed, entry, setBrush, setDisplay, state, takesPrompts } from "./state.js";
import { currentTool, setTool } from "./tools/index.js";
import { fit, view, zoomTo } from "./view.js";

/** Images whose pixels stay in memory. */
const KEPT_PIXELS = 6;
const loading = new Map();

/** The pixels of an image, read once at a time. */
function pixelsOf(id) {
  if (!loading.has(id)) {
    const promise = api.pixels(id);
    promise.catch(() => loading.delete(id));
    loading.set(id, promise);
    while (loading.size > KEPT_PIXELS) {
      const [oldest, old] = loading.entries().next().value;
      loading.delete(oldest);
      const doc = known(oldest);
      if (doc && doc !== state.doc) doc.pixels = null;
      old.then((bitmap) => state.doc?.pixels !== bitmap && bitmap.close()).catch(() => {});
    }
  }
  return loading.get(id);
}

/** The image that was asked for last; one that cannot be opened is passed over from here. */
let wanted = null;

/** Shows an image. */
export async function open(id) {
  flush();
  stop();
  currentTool().leave?.();
  wanted = id;
  try {
    const doc = await load(id);
    if (wanted !== id) return;
    const bitmap = await pixelsOf(id);
    if (wanted !== id) return;
    Object.assign(doc, { pixels: bitmap, width: bitmap.width, height: bitmap.height });
    state.doc = doc;
    state.selected = null;
    history.replaceState(null, "", `#${id}`);
    changed("image", "doc", "selection", "images", "tool");
    ahead(id);
  } catch (error) {
    if (wanted !== id) return;
    const name = entry(id)?.name ?? `image ${id}`;
    say(`${name} cannot be opened: ${error.message}`, { kind: "error", isLong: true });
    changed("images");
  }
}

/** Readies what is likely next. */
function ahead(id) {
  const list = shownImages();
  const place = list.findIndex((one) => one.id === id);
  const next = list.slice(place + 1, place + 3).map((one) => one.id);
  if (next[0] !== undefined) pixelsOf(next[0]).catch(() => {});
  if (state.session.model) api.prepare([id, ...next]).catch(() => {});
}

/** The images of the list as it is filtered and ordered. */
export function shownImages() {
  const text = state.search.trim().toLowerCase();
  return state.images.filter((image) => {
    const isHere = image.id === state.doc?.id || image.id === wanted;
    const fits = state.filter === "all" || image.status === state.filter || isHere;
    return fits && (text === "" || image.name.toLowerCase().includes(text));
  });
}

function go(step) {
  const list = shownImages();
  const place = list.findIndex((one) => one.id === wanted);
  const next = list[place + step];
  if (next) open(next.id);
  else say(step > 0 ? "This is the last image." : "This is the first image.");
}

export const next = () => go(1);
export const previous = () => go(-1);

export function nextUntouched() {
  const list = state.images;
  const place = list.findIndex((one) => one.id === wanted);
  const after = [...list.slice(place + 1), ...list.slice(0, place)];
  const found = after.find((one) => one.status === "untouched");
  if (found) open(found.id);
  else say("No image is untouched any more.");
}

const withDoc = (run) => (...rest) => state.doc && run(state.doc, ...rest);

function mark(doc, status) {
  if (doc.now.proposals.length > 0 && status === "done") {
    say("Drafts are open: accept or reject them first.");
    return false;
  }
  const isOn = doc.now.status === status;
  edit(doc, { status: isOn ? "draft" : status });
  flush();
  return !isOn;
}

export const done = withDoc((doc) => mark(doc, "done"));
export const skip = withDoc((doc) => mark(doc, "skipped"));
export const doneAndNext = withDoc((doc) => {
  if (doc.now.status === "done" || mark(doc, "done")) next();
});
export const skipAndNext = withDoc((doc) => {
  if (doc.now.status === "skipped" || mark(doc, "skipped")) next();
});

export const undoStep = withDoc((doc) => {
  const tool = currentTool();
  if (tool.isBusy?.()) return tool.back();
  stop();
  dropAsks(doc);
  return undo(doc) || say("Nothing to undo in this image.");
});

export const redoStep = withDoc((doc) => {
  stop();
  dropAsks(doc);
  return redo(doc) || say("Nothing to redo in this image.");
});

export const remove = withDoc((doc, uid = state.selected) => {
  if (findProposal(doc, uid)) return drafts.reject(doc, uid);
  if (!find(doc, uid)) return undefined;
  const place = doc.now.objects.findIndex((one) => one.uid === uid);
  dropAsks(doc);
  const objects = doc.now.objects.filter((one) => one.uid !== uid);
  edit(doc, { objects });
  return select(objects[Math.min(place, objects.length - 1)]?.uid ?? null);
});

export const back = withDoc(() => {
  const tool = currentTool();
  return tool.isBusy?.() ? tool.back() : remove();
});

export function select(uid) {
  state.selected = uid;
  changed("selection");
}

export const cycle = withDoc((doc, step = 1) => {
  const list = [...doc.now.objects, ...doc.now.proposals];
  if (list.length === 0) return;
  const place = list.findIndex((one) => one.uid === state.selected);
  const from = place < 0 && step < 0 ? 0 : place;
  select(list[(from + step + list.length) % list.length].uid);
});

export function setCategory(id) {
  state.categoryId = id;
  changed("session");
  const { doc, selected } = state;
  const object = doc && (find(doc, selected) ?? findProposal(doc, selected));
  if (!object || object.category_id === id) return;
  const next = { ...object, category_id: id };
  if (find(doc, selected)) put(doc, next);
  else edit(doc, { proposals: doc.now.proposals.map((one) => (one === object ? next : one)) });
}

export function categoryByNumber(number) {
  const found = state.session.categories[number - 1];
  if (found) setCategory(found.id);
  else say(`There is no category ${number}.`);
}

export function finish() {
  if (currentTool().isBusy?.()) currentTool().enter();
  else select(null);
}

export function escape() {
  stop();
  if (currentTool().isBusy?.()) currentTool().escape();
  else select(null);
}

export const draftAsk = withDoc(drafts.ask);
export const draftAccept = withDoc(drafts.accept);
export const draftAcceptAll = withDoc(drafts.acceptAll);
export const draftReject = withDoc(drafts.reject);
export const draftRejectAll = withDoc(drafts.rejectAll);
export const draftLabel = withDoc(drafts.label);

export const tool = (name) => setTool(name);

export function setAdds(adds) {
  state.adds = adds;
  changed("tool");
}

export function setShape(shape) {
  state.shape = shape;
  changed("tool");
}

export const zoomBy = withDoc((doc, factor) => {
  zoomTo(doc, view.scale * factor);
  redraw(true);
});

export const zoomFit = withDoc((doc) => {
  fit(doc);
  redraw(true);
});

export const zoomFull = withDoc((doc) => {
  zoomTo(doc, 1);
  redraw(true);
});

export const brushBy = (factor) => {
  const change = Math.max(1, Math.round(state.brush * 0.15));
  setBrush(state.brush + Math.sign(factor) * change);
};

export const display = (name, step) => setDisplay({ [name]: state.display[name] + step });
export const resetDisplay = () => setDisplay({ brightness: 100, contrast: 100 });
export const toggleOutlines = () => setDisplay({ outlines: !state.display.outlines });

export function hide(isHidden) {
  if (state.isHidden === isHidden) return;
  state.isHidden = isHidden;
  changed("display");
}

export async function setOrder(by) {
  try {
    const { ids } = await api.order(by);
    const places = new Map(ids.map((id, place) => [id, place]));
    state.images = [...state.images].sort((a, b) => (places.get(a.id) ?? 0) - (places.get(b.id) ?? 0));
    state.order = by;
  } catch (error) {
    say(`The order stays as it is: ${error.message}`, { kind: "error" });
  }
  changed("images");
}

export const hasUnsaved = () => all().some((doc) => !isClean(doc));
export const firstTool = () => (takesPrompts() ? "point" : "polygon");
