// What the server tells by itself: changes by others, and whether it is there.

import * as api from "./api.js";
import { isClean, known, load, relist, sameContent, takeOver } from "./documents.js";
import { say } from "./panels/notice.js";
import { doubt, retry } from "./save.js";
import { CLIENT, changed, entry, state } from "./state.js";

const AGAIN_MS = 2000;

let source = null;
let timer = 0;
let wasAway = false;
let leftAt = -Infinity;

// A page that is left loses its stream before it hears `pagehide`; the server is not away then.
addEventListener("beforeunload", () => (leftAt = performance.now()));

export function listen() {
  clearTimeout(timer);
  source?.close();
  source = new EventSource("/api/events");
  source.onopen = back;
  source.onerror = away;
  source.onmessage = (message) => {
    let event;
    try {
      event = JSON.parse(message.data);
    } catch {
      return;
    }
    take(event);
  };
}

function back() {
  if (wasAway) {
    wasAway = false;
    doubt();
    refresh();
    say("The server is back.");
  }
  state.connection = { kind: "ok", text: "" };
  changed("connection");
  retry();
}

async function away() {
  if (performance.now() - leftAt < AGAIN_MS) {
    timer = setTimeout(listen, AGAIN_MS);
    return;
  }
  wasAway = true;
  doubt();
  const kept = "Go on: changes are kept in this browser, and saved when it is back.";
  state.connection = { kind: "away", text: `The server does not answer. ${kept}` };
  changed("connection");
  clearTimeout(timer);
  timer = setTimeout(listen, AGAIN_MS);
  try {
    await api.session();
  } catch (error) {
    if (!error.isStranger) return;
    const text = "The server was started anew with another link. Open the link that it printed.";
    state.connection = { kind: "stranger", text: `${text} What is not saved stays in this browser.` };
    changed("connection");
  }
}

const handlers = {
  image(event) {
    if (event.client === CLIENT) return;
    refreshSoon();
    const doc = known(event.id);
    if (!doc || event.revision === doc.revision) return;
    doc.isStale = true;
    if (doc === state.doc) showTheirs(doc);
  },
  file(event) {
    say(event.text ?? "Another program changed the file.", { kind: "info", isLong: true });
    refreshSoon();
  },
  categories: refreshSoon,
  missed() {
    doubt();
    refresh();
  },
  uncertainty(event) {
    const listed = entry(event.id);
    if (!listed) return;
    listed.uncertainty = event.value;
    changed("images");
  },
  prepared() {},
  stopping() {
    state.connection = { kind: "away", text: "The server is stopping. Start it again to go on; nothing is lost." };
    changed("connection");
  },
};

function take(event) {
  handlers[event.kind]?.(event);
}

/** Another tab saved the image that is open here. With changes of our own the next save finds the conflict. */
async function showTheirs(doc) {
  if (!isClean(doc)) return;
  try {
    const fresh = await api.image(doc.id);
    if (!isClean(doc)) return;
    const isNew = !sameContent(doc.base, fresh);
    takeOver(doc, fresh);
    if (isNew) say("Another tab or program changed this image. You see its version; Ctrl+Z brings yours back.");
  } catch (error) {
    say(`Another tab changed this image, but it cannot be read: ${error.message}`, { kind: "error" });
  }
}

let soon = 0;
function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(refresh, 400);
}

/** Reads the list and the categories anew, and the open image if it may have changed. */
export async function refresh() {
  try {
    takeSession(await api.session());
    const { doc } = state;
    if (doc?.isStale && isClean(doc)) await load(doc.id);
  } catch (error) {
    if (error.status !== 0) say(`The list cannot be read: ${error.message}`, { kind: "error" });
  }
}

export function takeSession(session) {
  state.session = session;
  state.images = session.images;
  relist();
  state.order = session.order ?? state.order;
  if (!session.categories.some((one) => one.id === state.categoryId)) {
    state.categoryId = session.categories[0]?.id ?? null;
  }
  changed("session", "images", "doc");
}


