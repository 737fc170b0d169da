// Mouse, pen and fingers on the stage. One pointer works with the tool; two move and zoom.

import { tick } from "./clock.js";
import { redraw } from "./canvas.js";
import { setBrush, state } from "./state.js";
import { currentTool, TOOLS } from "./tools/index.js";
import { panBy, toImage, view, zoomTo } from "./view.js";

/** Movement on the screen up to which pressing counts as a click. */
const CLICK = 5;
const TOUCH_CLICK = 12;

let stage;
const pointers = new Map();
/** The tool at work: { tool, id, start, isClick, event }. */
let work = null;
/** Two fingers: { distance, middle }. */
let pinch = null;
let hasPen = false;
let isSpace = false;

export function setUp(element) {
  stage = element;
  stage.addEventListener("pointerdown", down);
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", cancel);
  stage.addEventListener("lostpointercapture", (event) => pointers.delete(event.pointerId));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener("wheel", wheel, { passive: false });
  // Safari zooms the whole page by gestures otherwise.
  stage.addEventListener("gesturestart", (event) => event.preventDefault());
}

/** Space is held: the next drag moves the image. */
export function setSpace(isHeld) {
  isSpace = isHeld;
  showCursor();
}

export function showCursor() {
  if (!stage) return;
  const cursor = isSpace ? "grab" : currentTool().cursor;
  if (stage.style.cursor !== cursor) stage.style.cursor = cursor;
}

function place(event) {
  const { left, top } = stage.getBoundingClientRect();
  const screen = { x: event.clientX - left, y: event.clientY - top };
  return { ...toImage(screen), screen };
}

function toolFor(event) {
  const tool = currentTool();
  const isPanning = event.button === 1 || isSpace || (event.pointerType === "touch" && hasPen);
  if (isPanning) return TOOLS.pan;
  if (event.button === 2) return tool.usesSecondButton ? tool : null;
  return event.button === 0 ? tool : null;
}

function down(event) {
  if (!state.doc?.pixels || event.target.closest("button")) return;
  event.preventDefault();
  stage.focus({ preventScroll: true });
  tick();
  if (event.pointerType === "pen") hasPen = true;
  const at = place(event);
  pointers.set(event.pointerId, at.screen);
  stage.setPointerCapture(event.pointerId);
  if (pointers.size === 2 && event.pointerType === "touch") return beginPinch();
  if (pointers.size > 1 || work) return undefined;
  const tool = toolFor(event);
  if (!tool) return undefined;
  work = { tool, id: event.pointerId, start: at.screen, isClick: true, event };
  return tool.down?.(at, event);
}

function move(event) {
  const at = place(event);
  if (pointers.has(event.pointerId)) pointers.set(event.pointerId, at.screen);
  if (pinch) return movePinch();
  if (!work) {
    if (state.doc && event.pointerType !== "touch") currentTool().hover?.(at, event);
    return undefined;
  }
  if (event.pointerId !== work.id) return undefined;
  const reach = event.pointerType === "touch" ? TOUCH_CLICK : CLICK;
  if (Math.hypot(at.screen.x - work.start.x, at.screen.y - work.start.y) > reach) work.isClick = false;
  const steps = event.getCoalescedEvents?.() ?? [];
  for (const step of steps.length > 1 ? steps : [event]) work.tool.move?.(place(step), event);
  return undefined;
}

function up(event) {
  pointers.delete(event.pointerId);
  if (pinch) {
    if (pointers.size === 0) pinch = null;
    return;
  }
  if (!work || event.pointerId !== work.id) return;
  const { tool, isClick } = work;
  work = null;
  tick();
  tool.up?.(place(event), event, { isClick });
}

function cancel(event) {
  pointers.delete(event.pointerId);
  if (pointers.size === 0) pinch = null;
  stop();
}

/** Takes back what the tool has begun. */
export function stop() {
  const { tool } = work ?? {};
  work = null;
  tool?.cancel?.();
}

function ends() {
  const [a, b] = [...pointers.values()];
  return { distance: Math.hypot(a.x - b.x, a.y - b.y), middle: { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 } };
}

function beginPinch() {
  stop();
  pinch = ends();
}

function movePinch() {
  if (pointers.size < 2) return;
  const now = ends();
  panBy(state.doc, now.middle.x - pinch.middle.x, now.middle.y - pinch.middle.y);
  zoomTo(state.doc, view.scale * (now.distance / Math.max(1, pinch.distance)), now.middle);
  pinch = now;
  redraw(true);
}

function wheel(event) {
  event.preventDefault();
  if (!state.doc) return;
  const steps = { 0: 1, 1: 30, 2: 300 }[event.deltaMode] ?? 1;
  // Some systems turn the wheel sideways while Shift is held.
  const delta = (event.deltaY || event.deltaX) * steps;
  if ((event.shiftKey || event.altKey) && currentTool().hasSize) {
    setBrush(Math.sign(-delta) * Math.max(1, state.brush * 0.1) + state.brush);
    return;
  }
  const speed = event.ctrlKey ? 0.01 : 0.0015;
  zoomTo(state.doc, view.scale * Math.exp(-delta * speed), place(event).screen);
  redraw(true);
}
