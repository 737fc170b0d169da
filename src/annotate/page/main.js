// Starts the page.

import * as act from "./actions.js";
import * as api from "./api.js";
import * as canvas from "./canvas.js";
import { byTest, setText } from "./dom.js";
import * as keys from "./keys.js";
import * as agreement from "./panels/agreement.js";
import * as categories from "./panels/categories.js";
import * as conflict from "./panels/conflict.js";
import * as display from "./panels/display.js";
import * as help from "./panels/help.js";
import * as images from "./panels/images.js";
import { missingChanges, offer } from "./panels/left.js";
import { say } from "./panels/notice.js";
import * as objects from "./panels/objects.js";
import * as sheet from "./panels/sheet.js";
import * as status from "./panels/status.js";
import * as toolbar from "./panels/toolbar.js";
import { holdTab } from "./pending.js";
import * as pointer from "./pointer.js";
import * as save from "./save.js";
import { changed, entry, recall, state } from "./state.js";
import { listen, takeSession } from "./stream.js";
import { currentTool } from "./tools/index.js";

const AGAIN_MS = 2000;

function setUp() {
  const stage = byTest("canvas");
  recall();
  sheet.setUp();
  canvas.setUp(stage, (context) => currentTool().draw?.(context));
  pointer.setUp(stage);
  keys.setUp(stage);
  images.setUp(byTest("images-panel"));
  const side = byTest("side-panel");
  [categories, objects, display, agreement].forEach((panel) => panel.setUp(side));
  toolbar.setUp();
  help.setUp();
  conflict.setUp();
  status.setUp();
  save.watch();
  holdTab();
  // A click on a button leaves the focus where it is, so that keys go on working; text is left.
  document.addEventListener("mousedown", (event) => {
    if (!event.target.closest("button") || event.target.closest("dialog")) return;
    event.preventDefault();
    if (document.activeElement?.matches("textarea, input")) document.activeElement.blur();
  });
}

/** Where the last visit was, or the first image that is untouched. */
function firstImage() {
  const wanted = entry(Number(location.hash.slice(1)));
  return wanted ?? state.images.find((image) => image.status === "untouched") ?? state.images[0] ?? null;
}

async function start() {
  try {
    takeSession(await api.session());
  } catch (error) {
    const link = "Open the link that the annotator printed when it was started.";
    setText(byTest("stage-note"), error.isStranger ? link : `The page cannot begin: ${error.message}. It tries again.`);
    setTimeout(start, AGAIN_MS);
    return;
  }
  state.tool = act.firstTool();
  changed("tool", "display", "save");
  listen();
  for (const note of state.session.notes ?? []) say(note, { isLong: true });
  const missing = await missingChanges();
  const image = firstImage();
  if (image) await act.open(image.id);
  byTest("canvas").focus({ preventScroll: true });
  offer(missing);
}

setUp();
start();
