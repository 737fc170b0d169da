// Pictures of the whole image at the scale of the screen: moving the image then only copies them.

import { canvasOf } from "./shapes.js";
import { view } from "./view.js";

/** Pixels of a picture at most; what is larger is drawn directly, as little of it is in sight. */
const MAX_PIXELS = 8_000_000;
/** A picture that took longer is stretched while zooming, and drawn anew after it. */
const SLOW_MS = 6;
const CALM_MS = 120;

export class Layer {
  /** `paint(context)` draws in pixels of the image; `again` asks for another frame. */
  constructor(paint, again) {
    this.paint = paint;
    this.again = again;
    this.canvas = null;
    this.scale = 0;
    this.cost = 0;
    this.isOld = true;
    this.timer = 0;
  }

  /** What it shows has changed. */
  forget() {
    this.isOld = true;
  }

  /** Draws on a canvas of the stage's size, with `dots` device pixels per CSS pixel. */
  draw(context, image, dots) {
    const scale = view.scale * dots;
    const [x, y] = [Math.round(view.x * dots), Math.round(view.y * dots)];
    const [width, height] = [Math.ceil(image.width * scale), Math.ceil(image.height * scale)];
    if (width * height > MAX_PIXELS) {
      this.canvas = null;
      context.setTransform(scale, 0, 0, scale, x, y);
      this.paint(context);
      return;
    }
    const isStretched = !this.isOld && this.canvas && this.scale !== scale && this.cost > SLOW_MS;
    if (isStretched) this.calmLater();
    else if (this.isOld || !this.canvas || this.scale !== scale) this.render(width, height, scale);
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (isStretched) context.drawImage(this.canvas, x, y, width, height);
    else context.drawImage(this.canvas, x, y);
  }

  render(width, height, scale) {
    const start = performance.now();
    if (this.canvas?.width !== width || this.canvas?.height !== height) this.canvas = canvasOf(width, height);
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.paint(context);
    this.scale = scale;
    this.isOld = false;
    this.cost = performance.now() - start;
  }

  calmLater() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.forget();
      this.again();
    }, CALM_MS);
  }
}
