// A second reading against the first.

import { open } from "../actions.js";
import * as api from "../api.js";
import { button, el, setText, show } from "../dom.js";
import { changed, entry, on, state } from "../state.js";
import { closeOnSmall } from "./sheet.js";
import { say } from "./notice.js";

let block;
let summary;
let table;
let first;

export function setUp(panel) {
  summary = el("p", { class: "quiet", test: "agreement-summary" }, "Compares the images that both readers have done.");
  table = el("tbody", { test: "agreement-rows" });
  first = button({ text: "Show the first reading", title: "After this image is done", test: "first", run: showFirst });
  const head = ["Image", "IoU", "Both", "1st", "2nd"].map((text) => el("th", { scope: "col" }, text));
  block = el("section", { class: "block", test: "agreement", "aria-label": "Agreement" },
    el("div", { class: "block-head" }, el("h2", {}, "Agreement"), button({ text: "Compare", test: "agreement-compare", run: compare })),
    summary, el("table", { class: "agreement" }, el("thead", {}, el("tr", {}, ...head)), table), first);
  panel.append(block);
  on("session", () => show(block, Boolean(state.session?.doubles)));
  on("doc image", () => {
    first.disabled = state.doc?.now.status !== "done";
    setText(first, state.doc?.first ? "Hide the first reading" : "Show the first reading");
  });
}

const figure = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

async function compare() {
  try {
    const { images, overall, num_images: number } = await api.agreement();
    setText(summary, number === 0 ? "No image is done by both readers yet."
      : `${number === 1 ? "1 image" : `${number} images`}: mean IoU ${figure(overall.iou_mean)}, ${overall.matched} matched, ${overall.only_first} only in the first, ${overall.only_second} only in the second.`);
    table.replaceChildren(...images.map(row));
  } catch (error) {
    setText(summary, `Cannot compare: ${error.message}`);
  }
}

function row({ id, revised, iou_mean: iou, matched, only_first: onlyFirst, only_second: onlySecond }) {
  const name = entry(id)?.name ?? `image ${id}`;
  const go = () => {
    open(id);
    closeOnSmall("side");
  };
  const text = revised ? `${name} (revised)` : name;
  const cells = [figure(iou), matched, onlyFirst, onlySecond].map((value) => el("td", {}, String(value)));
  return el("tr", {}, el("th", { scope: "row" }, button({ text, title: text, test: `agreement-${id}`, class: "link", run: go })), ...cells);
}

/** The objects of the first reader, drawn above one's own. Only once one's own are done. */
async function showFirst() {
  const { doc } = state;
  if (doc.first) {
    doc.first = null;
  } else {
    try {
      const reply = await api.first(doc.id);
      doc.first = reply.objects;
      doc.isStale = true;
    } catch (error) {
      say(`The first reading is not shown: ${error.message}`, { kind: "error" });
    }
  }
  setText(first, doc.first ? "Hide the first reading" : "Show the first reading");
  changed("doc");
}
