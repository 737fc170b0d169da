// Measures what the page itself takes: from a click to its mask on the screen less the model's time, and how fluent
// moving and painting are on a large image.
//
//     NODE_MODULES=FOLDER node scripts/annotate_page/measure.mjs target/release/examples/fake_annotate IMAGES

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { browser, visit } from "./browser.mjs";
import { serve } from "./server.mjs";

const [program, images] = process.argv.slice(2);
const server = await serve(program, [images, join(mkdtempSync(join(tmpdir(), "measure-")), "out.json")]);
const context = await browser();
const tab = await visit(context, server.url);
const { page } = tab;
const size = await page.evaluate(async () => {
  const { width, height } = await (await fetch("/api/images/1")).json();
  return { width, height };
});
console.log(`image: ${size.width} × ${size.height}`);

const at = (i) => [size.width * (0.15 + 0.1 * (i % 8)), size.height * (0.25 + 0.12 * Math.floor(i / 8))];
for (let i = 0; i < 32; i += 1) {
  await tab.click(...at(i));
  await tab.until({ objects: i + 1, asking: false });
  await page.keyboard.press("Enter");
}
await page.waitForTimeout(300);
const { spent, requests } = await page.evaluate(() => ({
  spent: performance.getEntriesByType("measure").map(({ duration, detail }) => ({ duration, model: detail.milliseconds })),
  requests: performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/ask")).map(({ duration }) => duration),
}));
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const worst = (list) => Math.max(...list);
const figures = (list) => `median ${median(list).toFixed(1)} ms, worst ${worst(list).toFixed(1)} ms`;
console.log(`click to mask, ${spent.length} clicks: ${figures(spent.map(({ duration }) => duration))}`);
console.log(`  less what the server says of the model: ${figures(spent.map(({ duration, model }) => duration - model))}`);
console.log(`  less the whole request (the page alone): ${figures(spent.map(({ duration }, i) => duration - requests[i]))}`);

/** Frames and the longest gap between two while something goes on. */
async function frames(act) {
  await page.evaluate(() => {
    window.gaps = [];
    let last = performance.now();
    const tick = (now) => {
      window.gaps.push(now - last);
      last = now;
      window.ticking = requestAnimationFrame(tick);
    };
    window.ticking = requestAnimationFrame(tick);
  });
  await act();
  const gaps = (await page.evaluate(() => (cancelAnimationFrame(window.ticking), window.gaps))).slice(1);
  const second = gaps.reduce((sum, gap) => sum + gap, 0) / 1000;
  return `${(gaps.length / second).toFixed(0)} frames a second, longest ${worst(gaps).toFixed(0)} ms`;
}

const path = (radius) => Array.from({ length: 90 }, (_, i) => [640 + radius * Math.cos(i / 8), 440 + radius * Math.sin(i / 8)]);
async function sweep() {
  await page.mouse.move(...path(120)[0]);
  await page.mouse.down();
  for (const point of path(120)) {
    await page.mouse.move(...point);
    await page.waitForTimeout(8);
  }
  await page.mouse.up();
}
await page.keyboard.press("m");
console.log(`moving with ${spent.length} objects: ${await frames(sweep)}`);
await page.keyboard.press("b");
console.log(`painting: ${await frames(sweep)}`);
console.log("The browser draws without a graphics card here.");
await context.close();
await server.kill();
