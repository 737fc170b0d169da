// Starts Chromium, and speaks the page's language: image coordinates and names of elements.
//
// Needs playwright-core; NODE_MODULES is the folder it is in, if that is not found from here.

import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES ?? process.cwd(), "x.js"));
const { chromium } = require("playwright-core");

const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

export async function browser(options = {}) {
  const folder = mkdtempSync(join(tmpdir(), "annotate-page-"));
  return chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ARGUMENTS,
    viewport: { width: 1280, height: 800 },
    ...options,
  });
}

/** A tab with the page, and what can be done there. */
export async function visit(context, url) {
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error.stack ?? error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource|ERR_/.test(message.text())) errors.push(message.text());
  });
  await page.goto(url);
  const test = (name) => page.locator(`[data-test="${name}"]`);
  const stage = test("canvas");
  await page.waitForSelector('[data-test="canvas"][data-ready="true"]');
  const facts = () => stage.evaluate((element) => ({ ...element.dataset }));
  const spot = async (x, y) => {
    const [box, { scale, offsetX, offsetY }] = [await stage.boundingBox(), await facts()];
    return [box.x + Number(offsetX) + x * Number(scale), box.y + Number(offsetY) + y * Number(scale)];
  };
  const click = async (x, y, options) => page.mouse.click(...(await spot(x, y)), options);
  const drag = async (...points) => {
    await page.mouse.move(...(await spot(...points[0])));
    await page.mouse.down();
    for (const point of points.slice(1)) await page.mouse.move(...(await spot(...point)), { steps: 6 });
    await page.mouse.up();
  };
  const until = (facts_, timeout = 8000) =>
    page.waitForFunction(
      (wanted) => {
        const element = document.querySelector('[data-test="canvas"]');
        return Object.entries(wanted).every(([name, value]) => element.dataset[name] === String(value));
      },
      facts_,
      { timeout },
    );
  const saved = (timeout = 8000) => page.waitForSelector('[data-test="save-state"][data-kind="saved"]', { timeout });
  const image = (id) => page.evaluate(async (number) => (await fetch(`/api/images/${number}`)).json(), id);
  return { page, test, facts, spot, click, drag, until, saved, image, errors };
}
