// Clicks that the model answers.

import { click } from "../prompt.js";
import { isTouch, state, takesPrompts } from "../state.js";

export const point = {
  name: "point",
  cursor: "crosshair",
  usesSecondButton: true,
  hint() {
    if (!takesPrompts()) return "Points need a model that answers clicks. Draw with the other tools.";
    if (!state.selected) return isTouch() ? "Tap what to annotate." : "Click on what to annotate.";
    if (isTouch()) return state.adds ? "Tap to add. Remove takes away." : "Tap to remove.";
    return state.adds ? "Click to add, right click to remove, Enter to finish." : "Click to remove, Enter to finish.";
  },
  up(at, event, { isClick }) {
    if (!isClick || !takesPrompts()) return;
    const { doc } = state;
    const pixel = { x: Math.floor(at.x), y: Math.floor(at.y) };
    if (pixel.x < 0 || pixel.y < 0 || pixel.x >= doc.width || pixel.y >= doc.height) return;
    const isSecond = event.button === 2 || event.altKey || event.shiftKey;
    click(doc, pixel, isSecond ? !state.adds : state.adds);
  },
};
