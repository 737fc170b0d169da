// Saves every change soon after it was made, and does not let go of it until the server has it.

import * as api from "./api.js";
import { all, content, isClean, onEdit, sameContent, takeOver } from "./documents.js";
import * as pending from "./pending.js";
import { CLIENT, changed, state } from "./state.js";
import { savedSeconds, secondsOf } from "./clock.js";

const DELAY_MS = 250;
const RETRY_MS = [1000, 2000, 4000, 8000];
/** Browsers refuse larger bodies for requests that outlive their page. */
const KEEPALIVE_BYTES = 60_000;

/** Per document: { timer, isBusy, sent, tries, failure, conflict }. */
const jobs = new Map();

function jobOf(doc) {
  if (!jobs.has(doc.id)) {
    const none = { timer: 0, isBusy: false, sent: null, tries: 0, failure: null, conflict: null, isUnsure: false };
    jobs.set(doc.id, none);
  }
  return jobs.get(doc.id);
}

onEdit((doc) => {
  pending.keep(doc, content(doc));
  const job = jobOf(doc);
  if (!job.conflict) plan(doc, DELAY_MS);
  report();
});

function plan(doc, delay) {
  const job = jobOf(doc);
  clearTimeout(job.timer);
  job.timer = setTimeout(() => save(doc), delay);
}

/** Saves what is waiting, at once. */
export function flush() {
  for (const doc of all()) {
    if (!isClean(doc) && !jobOf(doc).conflict) plan(doc, 0);
  }
}

/** Tries again what failed. */
export const retry = flush;

function body(doc, sent, revision) {
  const objects = sent.objects.map(({ reader, ...object }) => object);
  return { revision, objects, status: sent.status, notes: sent.notes, client: CLIENT, seconds: secondsOf(doc.id) };
}

async function save(doc) {
  const job = jobOf(doc);
  clearTimeout(job.timer);
  if (job.isBusy || job.conflict || isClean(doc)) return;
  job.isBusy = true;
  report();
  const edits = doc.edits;
  const before = job.sent;
  const sent = content(doc);
  try {
    if (job.isUnsure) await lookAgain(doc, job, sent);
    if (!job.conflict) {
      job.sent = sent;
      const message = body(doc, sent, doc.revision);
      const keepalive = JSON.stringify(message).length < KEEPALIVE_BYTES;
      const { revision } = await api.put(doc.id, message, { keepalive });
      savedSeconds(doc.id, message.seconds);
      acknowledged(doc, job, sent, revision, edits);
    }
  } catch (error) {
    if (error.status === 409 && error.body?.current) meet(doc, job, [before, sent], error.body.current, error.message);
    else failed(doc, job, error);
  }
  job.isBusy = false;
  if (!isClean(doc) && !job.failure && !job.conflict) plan(doc, 0);
  report();
}

function acknowledged(doc, job, sent, revision, edits) {
  doc.revision = revision;
  doc.base = sent;
  doc.savedEdits = edits;
  doc.isStale = false;
  Object.assign(job, { sent: null, tries: 0, failure: null, isUnsure: false });
  if (isClean(doc)) pending.forget(doc);
  else pending.keep(doc, content(doc));
}

function failed(doc, job, error) {
  if (!(error instanceof api.Failure)) console.error(error);
  job.failure = { reason: error.message, isStranger: Boolean(error.isStranger) };
  if (error.status === 0) job.isUnsure = true;
  if (error.isPassing) {
    plan(doc, RETRY_MS[Math.min(job.tries, RETRY_MS.length - 1)]);
    job.tries += 1;
  }
}

/** The server was away: it may have another version now, under any revision. */
async function lookAgain(doc, job, sent) {
  const current = await api.image(doc.id);
  job.isUnsure = false;
  meet(doc, job, [job.sent, sent], current, "the image was changed while the server was away");
  if (!job.conflict) doc.revision = current.revision;
}

/** The server has another revision. Only if its content is neither ours nor what ours began from, somebody decides. */
function meet(doc, job, ours, current, message) {
  const isOurs = [doc.base, ...ours].some((one) => one && sameContent(one, current));
  job.failure = null;
  if (isOurs) {
    doc.revision = current.revision;
    doc.base = { objects: current.objects, status: current.status, notes: current.notes ?? "" };
    return;
  }
  job.conflict = { current, message };
  changed("conflict");
}

/** Marks what the server may have lost or changed meanwhile. */
export function doubt() {
  for (const doc of all()) {
    doc.isStale = true;
    if (!isClean(doc)) jobOf(doc).isUnsure = true;
  }
}

export function conflicts() {
  return all().filter((doc) => jobs.get(doc.id)?.conflict).map((doc) => ({ doc, ...jobs.get(doc.id).conflict }));
}

export function takeTheirs(doc) {
  const job = jobOf(doc);
  const { current } = job.conflict;
  Object.assign(job, { conflict: null, sent: null, failure: null });
  doc.base = content(doc);
  takeOver(doc, current);
  pending.forget(doc);
  report();
}

export function keepMine(doc) {
  const job = jobOf(doc);
  doc.revision = job.conflict.current.revision;
  Object.assign(job, { conflict: null, sent: null, failure: null });
  plan(doc, 0);
  report();
}

/** What the page says about saving. */
function report() {
  const open = all().filter((doc) => !isClean(doc));
  const stuck = open.find((doc) => jobOf(doc).conflict);
  const broken = open.find((doc) => jobOf(doc).failure);
  let save = { kind: open.length > 0 ? "saving" : "saved", reason: "" };
  if (broken) {
    const { reason, isStranger } = jobOf(broken).failure;
    save = { kind: "failed", reason: `${broken.name}: ${reason}`, isStranger };
  }
  if (stuck) save = { kind: "conflict", reason: `${stuck.name}: ${jobOf(stuck).conflict.message}` };
  save.count = open.length;
  state.save = save;
  changed("save");
}

/** What is not saved, as a file's text. */
export function unsaved() {
  const images = all().filter((doc) => !isClean(doc)).map((doc) => ({ id: doc.id, name: doc.name, ...content(doc) }));
  return JSON.stringify({ file: state.session.file, images }, null, 1);
}

/** The page goes away: requests that outlive it. Whatever does not fit stays in the browser's storage. */
function leave() {
  for (const doc of all().filter((one) => !isClean(one))) {
    const job = jobOf(doc);
    if (job.conflict || job.isUnsure) continue;
    const isSent = job.isBusy && job.sent && sameContent(job.sent, content(doc));
    if (isSent) continue;
    // What is on its way makes the next revision.
    const message = body(doc, content(doc), doc.revision + (job.isBusy ? 1 : 0));
    if (JSON.stringify(message).length < KEEPALIVE_BYTES) {
      job.sent = content(doc);
      api.put(doc.id, message, { keepalive: true }).catch(() => {});
    }
  }
}

export function watch() {
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && flush());
  addEventListener("beforeunload", (event) => {
    const isAtRisk = state.save.kind === "failed" && pending.couldNotKeep();
    if (isAtRisk) event.preventDefault();
  });
}
