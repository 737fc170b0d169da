// The tools by name.

import { changed, state } from "../state.js";
import { box } from "./box.js";
import { brush, eraser } from "./brush.js";
import { pan } from "./pan.js";
import { point } from "./point.js";
import { polygon } from "./polygon.js";
import { select } from "./select.js";

export const TOOLS = { point, box, polygon, brush, eraser, select, pan };

export const currentTool = () => TOOLS[state.tool];

export function setTool(name) {
  if (state.tool === name) return;
  currentTool().leave?.();
  state.tool = name;
  changed("tool");
}
