// The list of images. Only the rows in sight exist, so that thousands are as quick as ten.

import { open, setOrder, shownImages } from "../actions.js";
import { el, icon, keyed, setAttribute, setText } from "../dom.js";
import { on, state } from "../state.js";
import { closeOnSmall } from "./sheet.js";

export const STATUS = { untouched: "Untouched", draft: "Begun", done: "Done", skipped: "Skipped" };
const FILTERS = { all: "All", ...STATUS };

let list;
let rows;
let counts;
let orderSelect;
let resort = 0;

export function setUp(panel) {
  const filter = el("select", { test: "filter", "aria-label": "Show", on: { change: () => setFilter(filter.value) } });
  for (const [value, text] of Object.entries(FILTERS)) filter.append(el("option", { value }, text));
  orderSelect = el("select", { test: "order", "aria-label": "Order", on: { change: () => setOrder(orderSelect.value) } },
    el("option", { value: "name" }, "By name"), el("option", { value: "uncertainty" }, "Least certain first"));
  const search = el("input", { type: "search", test: "search", placeholder: "Find a name", "aria-label": "Find a name", on: { input: () => find(search.value) } });
  counts = el("p", { class: "quiet", test: "counts" });
  rows = el("ol", { class: "rows", test: "image-list" });
  list = el("div", { class: "scroll", on: { scroll: draw } }, rows);
  const close = el("button", { type: "button", class: "square panel-close", test: "images-close", "aria-label": "Close the list", on: { click: () => closeOnSmall("images") } }, icon("close"));
  panel.append(el("div", { class: "panel-head" }, el("h2", {}, "Images"), counts, close),
    el("div", { class: "list-tools" }, search, filter, orderSelect), list);
  new ResizeObserver(draw).observe(list);
  on("images session", update);
  on("image", () => requestAnimationFrame(intoSight));
}

function setFilter(value) {
  state.filter = value;
  list.scrollTop = 0;
  update();
}

function find(text) {
  state.search = text;
  list.scrollTop = 0;
  update();
}

function update() {
  const { images, session, order } = state;
  const isWhole = state.filter === "all" && state.search.trim() === "";
  setText(counts, isWhole ? `${images.length}` : `${shownImages().length} of ${images.length}`);
  orderSelect.value = order;
  orderSelect.hidden = !session?.model;
  if (order === "uncertainty" && resort === 0) resort = setTimeout(sortAgain, 2000);
  draw();
}

/** Uncertainties come in one after another: the list follows, but not with each. */
function sortAgain() {
  resort = 0;
  if (state.order !== "uncertainty") return;
  state.images = [...state.images].sort((a, b) => (b.uncertainty ?? -1) - (a.uncertainty ?? -1));
  draw();
}

const rowHeight = () => parseFloat(getComputedStyle(list).getPropertyValue("--row")) || 44;

function draw() {
  const height = rowHeight();
  const images = shownImages();
  rows.style.height = `${Math.max(1, images.length) * height}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / height) - 4);
  const last = Math.min(images.length, Math.ceil((list.scrollTop + list.clientHeight) / height) + 4);
  const shown = images.slice(first, last).map((image, i) => ({ image, place: first + i }));
  keyed(rows, shown, ({ image }) => image.id, create, (row, { image, place }) => {
    row.style.transform = `translateY(${place * height}px)`;
    setAttribute(row, "aria-setsize", images.length);
    setAttribute(row, "aria-posinset", place + 1);
    refresh(row, image);
  });
}

function create({ image }) {
  const choose = () => {
    open(image.id);
    closeOnSmall("images");
  };
  return el("li", {}, el("button", { type: "button", class: "row", test: `image-${image.id}`, on: { click: choose } },
    el("span", { class: "status-dot", "aria-hidden": "true" }), el("span", { class: "row-name" }), el("span", { class: "row-more quiet" })));
}

function refresh(row, image) {
  const line = row.firstElementChild;
  const [, name, more] = line.children;
  setText(name, image.name);
  const parts = [];
  if (image.objects > 0) parts.push(`${image.objects}`);
  if (state.order === "uncertainty" && image.uncertainty !== null) parts.push(`± ${image.uncertainty.toFixed(2)}`);
  setText(more, parts.join(" · "));
  setAttribute(line, "data-status", image.status);
  setAttribute(line, "title", `${image.name}: ${STATUS[image.status]}, ${image.objects} objects`);
  setAttribute(line, "aria-label", `${image.name}, ${STATUS[image.status]}, ${image.objects} objects`);
  setAttribute(line, "aria-current", state.doc?.id === image.id ? "true" : null);
}

function intoSight() {
  const place = shownImages().findIndex((image) => image.id === state.doc?.id);
  if (place < 0) return;
  const height = rowHeight();
  const [top, bottom] = [place * height, (place + 1) * height];
  if (top < list.scrollTop) list.scrollTop = top - height;
  if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight + height;
  draw();
}
