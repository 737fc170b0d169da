// Categories: choosing, adding and renaming.

import * as act from "../actions.js";
import * as api from "../api.js";
import { button, el, keyed, setAttribute, setText } from "../dom.js";
import { find, findProposal } from "../documents.js";
import { changed, on, state } from "../state.js";
import { say } from "./notice.js";

let list;
let dialog;
let fields;
let problem;

export function setUp(panel) {
  list = el("ul", { class: "categories", test: "categories" });
  panel.append(el("section", { class: "block", "aria-label": "Categories" },
    el("div", { class: "block-head" }, el("h2", {}, "Categories"), button({ text: "Edit", title: "Add and rename categories", test: "categories-edit", run: openDialog })), list));
  setUpDialog();
  on("session selection doc", update);
}

function update() {
  const { doc, selected, session } = state;
  const object = doc && selected ? find(doc, selected) ?? findProposal(doc, selected) : null;
  const current = object?.category_id ?? state.categoryId;
  keyed(list, session?.categories ?? [], (one) => one.id, create, (row, one, place) => {
    const line = row.firstElementChild;
    const [swatch, name, key] = line.children;
    swatch.style.backgroundColor = one.colour;
    setText(name, one.name);
    setText(key, place < 9 ? String(place + 1) : "");
    setAttribute(line, "aria-pressed", one.id === current);
    setAttribute(line, "title", place < 9 ? `${one.name} (${place + 1})` : one.name);
  });
}

function create({ id }) {
  return el("li", {}, el("button", { type: "button", class: "category", test: `category-${id}`, on: { click: () => act.setCategory(id) } },
    el("span", { class: "swatch", "aria-hidden": "true" }), el("span", { class: "object-name" }), el("kbd", {})));
}

function setUpDialog() {
  fields = el("div", { class: "fields" });
  problem = el("p", { class: "problem", role: "alert", test: "categories-problem" });
  dialog = el("dialog", { class: "dialog", test: "categories-dialog", "aria-label": "Categories" },
    el("form", { method: "dialog", on: { submit: save } }, el("h2", {}, "Categories"), fields,
      button({ text: "Add a category", test: "category-add", run: () => addField({ name: "" }).querySelector("input").focus() }), problem,
      el("div", { class: "buttons" }, button({ text: "Cancel", test: "categories-cancel", run: () => dialog.close() }),
        el("button", { type: "submit", class: "primary", "data-test": "categories-save" }, "Save"))));
  document.body.append(dialog);
}

function openDialog() {
  fields.replaceChildren();
  setText(problem, "");
  state.session.categories.forEach(addField);
  dialog.showModal();
}

function addField({ id, name }) {
  const input = el("input", { type: "text", maxlength: 200, "aria-label": id ? `Name of ${name}` : "Name of the new category", test: id ? `category-name-${id}` : "category-name-new" });
  input.value = name;
  const row = el("div", { class: "field", "data-id": id ?? "" }, input,
    button({ label: "Remove", symbol: "trash", class: "square", test: id ? `category-remove-${id}` : "category-remove-new", run: () => row.remove() }));
  fields.append(row);
  return row;
}

async function save(event) {
  event.preventDefault();
  const wanted = [...fields.children].map((row) => {
    const name = row.querySelector("input").value.trim();
    return row.dataset.id ? { id: Number(row.dataset.id), name } : { name };
  });
  // An empty new line was not meant.
  const named = wanted.filter((one) => one.id || one.name !== "");
  try {
    const reply = await api.categories(named);
    state.session.categories = reply.categories;
    if (!reply.categories.some((one) => one.id === state.categoryId)) state.categoryId = reply.categories[0]?.id ?? null;
    changed("session");
    dialog.close();
    say("Categories saved.");
  } catch (error) {
    setText(problem, `Not saved: ${error.message}`);
  }
}
