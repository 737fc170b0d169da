// Changes that the server has not acknowledged, kept in the browser's storage until it has.

import { CLIENT, state } from "./state.js";

const PREFIX = "sonotune.pending";

const start = () => `${PREFIX}|${state.session.file}|`;
const key = (doc) => `${start()}${CLIENT}|${doc.name}`;

/** Whether the last change could be kept. */
let isFull = false;
export const couldNotKeep = () => isFull;

export function keep(doc, content) {
  const kept = { ...content, name: doc.name, revision: doc.revision, base: doc.base, at: Date.now() };
  try {
    localStorage.setItem(key(doc), JSON.stringify(kept));
    isFull = false;
  } catch {
    isFull = true;
  }
}

export function forget(doc) {
  try {
    localStorage.removeItem(key(doc));
  } catch {
    // Without storage nothing was kept.
  }
}

/** Marks this tab as open, so that another does not take its changes for left behind. */
export function holdTab() {
  navigator.locks?.request(`sonotune-tab-${CLIENT}`, () => new Promise(() => {}));
}

async function openTabs() {
  if (!navigator.locks) return new Set();
  const { held } = await navigator.locks.query();
  return new Set(held.map((lock) => lock.name.replace("sonotune-tab-", "")));
}

/** What tabs that are gone left behind: [{ key, name, objects, status, notes, revision, base, at }]. */
export async function leftBehind() {
  const open = await openTabs();
  const found = [];
  let keys = [];
  try {
    keys = Object.keys(localStorage);
  } catch {
    return found;
  }
  for (const name of keys.filter((one) => one.startsWith(start()))) {
    const client = name.slice(start().length).split("|")[0];
    if (client === CLIENT || open.has(client)) continue;
    try {
      const kept = JSON.parse(localStorage.getItem(name));
      if (Array.isArray(kept?.objects) && typeof kept.name === "string") found.push({ ...kept, key: name });
    } catch {
      localStorage.removeItem(name);
    }
  }
  return found.sort((a, b) => a.at - b.at);
}

export function drop(kept) {
  localStorage.removeItem(kept.key);
}
