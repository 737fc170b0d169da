// All keys, from the table that the page itself uses.

import { button, byTest, el } from "../dom.js";
import { KEYS } from "../keys.js";

export function setUp() {
  const groups = KEYS.map(({ title, rows }) => el("section", {}, el("h3", {}, title),
    el("dl", {}, ...rows.flatMap(({ shown, text }) => [el("dt", {}, el("kbd", {}, shown)), el("dd", {}, text)]))));
  const touch = el("section", {}, el("h3", {}, "Touch"), el("dl", {},
    el("dt", {}, "One finger"), el("dd", {}, "The tool"),
    el("dt", {}, "Two fingers"), el("dd", {}, "Move and zoom"),
    el("dt", {}, "Pen"), el("dd", {}, "The tool; fingers then move the image")));
  const close = button({ label: "Close", symbol: "close", class: "square", test: "help-close", run: () => dialog.close() });
  const dialog = el("dialog", { class: "dialog help", test: "help", "aria-label": "Keys" },
    el("div", { class: "dialog-head" }, el("h2", {}, "Keys"), close), el("div", { class: "help-groups" }, ...groups, touch));
  dialog.addEventListener("keydown", (event) => event.key === "?" && dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  byTest("help-open").addEventListener("click", () => dialog.showModal());
}
