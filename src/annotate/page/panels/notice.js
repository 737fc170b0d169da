// Short messages at the edge of the screen.

import { button, byTest, el } from "../dom.js";

const SHOWN_MS = 4000;
const LONG_MS = 15_000;
const MAX_NOTICES = 3;

/** Says something. The same text is not shown twice. */
export function say(text, { kind = "info", isLong = false } = {}) {
  const list = byTest("notices");
  for (const notice of [...list.children]) if (notice.dataset.text === text) notice.remove();
  const close = button({ label: "Close", symbol: "close", test: "notice-close", class: "square", run: () => notice.remove() });
  const notice = el("div", { class: `notice ${kind}`, test: "notice", "data-text": text }, el("p", {}, text), close);
  list.append(notice);
  while (list.children.length > MAX_NOTICES) list.firstElementChild.remove();
  setTimeout(() => notice.remove(), isLong || kind === "error" ? LONG_MS : SHOWN_MS);
}
