// Opens and closes the panels at the sides; on small screens they lie above the image, one at a time.

import { byTest, setAttribute, show } from "../dom.js";

const NAMES = ["images", "side"];
const WIDE = matchMedia("(min-width: 1200px)");
/** Room for the panel at the right beside the image. */
const MIDDLE = matchMedia("(min-width: 900px)");

const isOpen = (name) => document.body.dataset[name] === "open";

function set(name, isOpenNow) {
  document.body.dataset[name] = isOpenNow ? "open" : "closed";
  setAttribute(byTest(`${name}-toggle`), "aria-expanded", isOpenNow);
  show(byTest("scrim"), !WIDE.matches && NAMES.some(isOpen) && (!MIDDLE.matches || isOpen("images")));
}

export function toggle(name) {
  const isOpening = !isOpen(name);
  if (isOpening && !WIDE.matches) NAMES.forEach((other) => set(other, false));
  set(name, isOpening);
}

/** After a choice on a small screen the image is what counts. */
export function closeOnSmall(name) {
  if (!WIDE.matches) set(name, false);
}

export function setUp() {
  const arrange = () => {
    set("images", WIDE.matches);
    set("side", MIDDLE.matches);
  };
  WIDE.addEventListener("change", arrange);
  MIDDLE.addEventListener("change", arrange);
  arrange();
  for (const name of NAMES) byTest(`${name}-toggle`).addEventListener("click", () => toggle(name));
  byTest("scrim").addEventListener("click", () => NAMES.forEach((name) => set(name, false)));
}
