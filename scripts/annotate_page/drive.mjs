// Annotates as a person would, and checks what the server then has.
//
//     cargo build -p sonotune-annotate --example fake_annotate
//     NODE_MODULES=FOLDER node scripts/annotate_page/drive.mjs target/debug/examples/fake_annotate IMAGES [STEP]
//
// SHOTS=FOLDER keeps pictures of the dialogs. IMAGES has at least four images of 400 × 300 pixels or more. STEP runs only the steps with this word in their name.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode } from "../../src/annotate/page/rle.js";
import { area } from "../../src/annotate/page/raster.js";
import { browser, visit } from "./browser.mjs";
import { start as startDev } from "./dev.mjs";
import { serve } from "./server.mjs";

const [program, images, only = ""] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "annotate-"));
const port = 20_000 + (process.pid % 10_000);
let number = 0;

const steps = [];
const step = (name, run, options = {}) => steps.push({ name, run, options });

step("points, corrected by points, brush and eraser", async ({ tab }) => {
  await tab.click(200, 150);
  await tab.until({ objects: 1, asking: false });
  await tab.saved();
  const first = (await tab.image(1)).objects[0];
  const [point] = first.prompt.points;
  // Browsers round a mouse to whole points of the screen.
  assert.ok(Math.hypot(point.x - 200, point.y - 150) < 3 && point.positive, JSON.stringify(point));
  assert.equal(first.source, "model");

  await tab.click(215, 150, { button: "right" });
  await tab.page.waitForTimeout(200);
  await tab.saved();
  const less = (await tab.image(1)).objects[0];
  assert.deepEqual(less.prompt.points.map(({ positive }) => positive), [true, false]);
  assert.equal(less.uid, first.uid);
  assert.ok(area(decode(less.mask)) < area(decode(first.mask)), "the negative point took something away");

  await tab.page.keyboard.press("b");
  await tab.drag([215, 150], [230, 150]);
  await tab.saved();
  const more = (await tab.image(1)).objects[0];
  assert.ok(area(decode(more.mask)) > area(decode(less.mask)), "the brush added something");
  assert.equal(more.source, "manual");
  await tab.page.keyboard.press("e");
  await tab.drag([200, 150], [205, 155]);
  await tab.saved();
  const erased = (await tab.image(1)).objects[0];
  assert.ok(area(decode(erased.mask)) < area(decode(more.mask)), "the eraser took something away");

  for (let i = 0; i < 4; i += 1) await tab.page.keyboard.press("Control+z");
  await tab.until({ objects: 0 });
  await tab.saved();
  assert.equal((await tab.image(1)).status, "untouched");
  for (let i = 0; i < 4; i += 1) await tab.page.keyboard.press("Control+Shift+z");
  await tab.saved();
  assert.equal((await tab.image(1)).objects[0].mask.counts, erased.mask.counts, "redone exactly");
});

step("clicks that come while the model thinks are answered together", async ({ tab, dev }) => {
  await dev("delay=400");
  await tab.click(200, 150);
  await tab.click(260, 150);
  await tab.click(300, 200, { modifiers: [] });
  await tab.until({ objects: 1, asking: false });
  await tab.saved();
  const [object] = (await tab.image(1)).objects;
  assert.equal(object.prompt.points.length, 3);
}, { hasDev: true });

step("box, polygon with moved corners, categories", async ({ tab }) => {
  await tab.page.keyboard.press("r");
  await tab.drag([60, 60], [160, 130]);
  await tab.until({ objects: 1, asking: false });
  await tab.page.keyboard.press("2");
  await tab.page.keyboard.press("g");
  for (const corner of [[220, 180], [320, 170], [330, 260]]) await tab.click(...corner);
  await tab.click(240, 270);
  await tab.page.keyboard.press("Enter");
  await tab.until({ objects: 2 });
  await tab.saved();
  let { objects } = await tab.image(1);
  objects[0].prompt.bbox.forEach((side, i) => assert.ok(Math.abs(side - [60, 60, 160, 130][i]) <= 2, `box ${objects[0].prompt.bbox}`));
  assert.equal(objects[0].category_id, 2);
  assert.equal(objects[1].polygons[0].length, 8);
  await tab.page.keyboard.press("v");
  await tab.drag(objects[1].polygons[0].slice(0, 2), [205, 150]);
  await tab.saved();
  objects = (await tab.image(1)).objects;
  assert.ok(Math.abs(objects[1].polygons[0][0] - 205) < 2, `corner at ${objects[1].polygons[0]}`);
  assert.equal(objects[1].polygons[0].length, 8);

  await tab.page.keyboard.press("Tab");
  assert.equal((await tab.facts()).selected, objects[0].uid);
  await tab.page.keyboard.press("Delete");
  await tab.until({ objects: 1 });

  await tab.test("categories-edit").click();
  await tab.test("category-name-1").fill("cyst");
  await tab.test("category-add").click();
  await tab.test("category-name-new").fill("<b>follicle</b>");
  await tab.test("categories-save").click();
  await tab.page.waitForSelector('[data-test="category-3"]');
  assert.match(await tab.test("category-3").innerText(), /<b>follicle<\/b>/);
  await tab.page.keyboard.press("3");
  await tab.saved();
  assert.equal((await tab.image(1)).objects[0].category_id, 3);
});

step("a polygon ends by a double click or its first corner, and Backspace takes a corner back", async ({ tab }) => {
  await tab.page.keyboard.press("g");
  for (const corner of [[100, 100], [200, 100], [200, 200], [20, 20]]) await tab.click(...corner);
  await tab.page.keyboard.press("Backspace");
  await tab.click(100, 100);
  await tab.until({ objects: 1 });
  await tab.page.mouse.click(...(await tab.spot(250, 100)));
  await tab.page.mouse.click(...(await tab.spot(350, 100)));
  await tab.page.mouse.dblclick(...(await tab.spot(300, 200)));
  await tab.until({ objects: 2 });
  await tab.saved();
  const { objects } = await tab.image(1);
  assert.deepEqual(objects.map(({ polygons }) => polygons[0].length), [6, 6]);
});

step("drafts: accept, reject, undo, accept all", async ({ tab }) => {
  await tab.page.keyboard.press("d");
  await tab.page.waitForFunction(() => Number(document.querySelector("[data-test=canvas]").dataset.proposals) > 2);
  const before = Number((await tab.facts()).proposals);
  await tab.page.keyboard.press("a");
  await tab.until({ objects: 1, proposals: before - 1 });
  await tab.page.keyboard.press("x");
  await tab.until({ objects: 1, proposals: before - 2 });
  await tab.page.keyboard.press("Control+z");
  await tab.until({ objects: 1, proposals: before - 1 });
  await tab.page.keyboard.press("Shift+A");
  await tab.until({ objects: before, proposals: 0 });
  await tab.saved();
  const { objects } = await tab.image(1);
  assert.equal(objects.length, before);
  assert.ok(objects.every(({ source }) => source === "draft"));
});

step("done, skip, next untouched, filter", async ({ tab }) => {
  await tab.page.keyboard.press("f");
  await tab.until({ imageId: 2, ready: true });
  await tab.page.keyboard.press("k");
  await tab.until({ imageId: 3, ready: true });
  await tab.page.keyboard.press("p");
  await tab.until({ imageId: 2, ready: true });
  await tab.page.keyboard.press("u");
  await tab.until({ imageId: 3, ready: true });
  await tab.saved();
  assert.equal((await tab.image(1)).status, "done");
  assert.equal((await tab.image(2)).status, "skipped");
  await tab.test("filter").selectOption("done");
  assert.equal(await tab.page.locator("[data-test=image-list] button").count(), 2, "the done one, and the open one");
  assert.match(await tab.test("progress").innerText(), /^1 of/);
});

step("a reload right after a change loses nothing", async ({ tab }) => {
  await tab.page.keyboard.press("g");
  for (const corner of [[100, 100], [200, 100], [200, 200]]) await tab.click(...corner);
  await tab.page.keyboard.press("Enter");
  await tab.page.reload();
  await tab.until({ imageId: 1, ready: true });
  await tab.page.waitForTimeout(1500);
  assert.equal((await tab.image(1)).objects.length, 1);
  assert.equal(await tab.test("left").count(), 0, "nothing to offer");
});

step("display: hold H, brightness, zoom and fit", async ({ tab }) => {
  await tab.page.keyboard.down("h");
  await tab.until({ hidden: true });
  await tab.page.keyboard.up("h");
  await tab.until({ hidden: false });
  await tab.page.keyboard.press("Shift+ArrowUp");
  assert.match(await tab.page.locator(".base").evaluate((base) => base.style.filter), /brightness\(110%\)/);
  await tab.page.keyboard.press("l");
  await tab.page.waitForTimeout(50);
  assert.equal(await tab.page.locator(".base").evaluate((base) => base.style.filter), "none");
  const { scale } = await tab.facts();
  await tab.page.mouse.move(...(await tab.spot(150, 150)));
  const under = await tab.spot(150, 150);
  await tab.page.mouse.wheel(0, -300);
  await tab.page.waitForTimeout(100);
  const after = await tab.spot(150, 150);
  assert.ok(Number((await tab.facts()).scale) > Number(scale));
  assert.ok(Math.hypot(under[0] - after[0], under[1] - after[1]) < 2, "the pixel under the mouse stays");
  await tab.page.keyboard.press("0");
  await tab.page.waitForTimeout(50);
  assert.equal((await tab.facts()).scale, scale);
  await tab.page.keyboard.press("b");
  const size = await tab.test("brush-text").innerText();
  await tab.page.keyboard.press("]");
  await tab.page.waitForTimeout(50);
  assert.notEqual(await tab.test("brush-text").innerText(), size);
});

step("the server dies and comes back: the change is kept, said and saved", async ({ tab, context, restart, kill }) => {
  await kill();
  await tab.page.keyboard.press("g");
  for (const corner of [[100, 100], [200, 100], [200, 200]]) await tab.click(...corner);
  await tab.page.keyboard.press("Enter");
  await tab.page.waitForSelector('[data-test="save-state"][data-kind="failed"]');
  assert.match(await tab.test("save-text").innerText(), /NOT SAVED/);
  assert.ok(await tab.test("banner").isVisible());
  const url = await restart();
  // The new link gives the browser the new cookie; the old tab goes on by itself.
  const other = await visit(context, url);
  await tab.saved(15_000);
  await tab.test("banner").waitFor({ state: "hidden" });
  assert.equal((await tab.image(1)).objects.length, 1);
  await other.page.close();
});

step("what a closed tab could not save is offered and restored", async ({ tab, context, restart, kill }) => {
  await tab.page.keyboard.press("g");
  for (const corner of [[100, 100], [200, 100], [200, 200]]) await tab.click(...corner);
  await tab.page.keyboard.press("Enter");
  await tab.saved();
  await kill();
  for (const corner of [[220, 200], [300, 200], [300, 260]]) await tab.click(...corner);
  await tab.page.keyboard.press("Enter");
  await tab.page.waitForSelector('[data-test="save-state"][data-kind="failed"]');
  await tab.page.close();
  const next = await visit(context, await restart());
  await next.test("left").waitFor();
  if (process.env.SHOTS) await next.page.screenshot({ path: join(process.env.SHOTS, "left.png") });
  assert.match(await next.test("left").innerText(), /1 object only in yours/);
  await next.test("left-restore").click();
  await next.until({ objects: 2 });
  await next.saved();
  assert.equal((await next.image(1)).objects.length, 2);
  await next.page.reload();
  await next.until({ ready: true });
  await next.page.waitForTimeout(800);
  assert.equal(await next.test("left").count(), 0);
  assert.deepEqual(next.errors, []);
});

step("a full disk is said, and saved once there is room", async ({ tab, dev }) => {
  await dev("fail=507");
  await tab.page.keyboard.press("g");
  for (const corner of [[100, 100], [200, 100], [200, 200]]) await tab.click(...corner);
  await tab.page.keyboard.press("Enter");
  await tab.page.waitForSelector('[data-test="save-state"][data-kind="failed"]');
  assert.match(await tab.test("banner-text").innerText(), /the disk is full/);
  await dev("fail=0");
  await tab.test("banner-retry").click();
  await tab.saved();
  assert.equal((await tab.image(1)).objects.length, 1);
}, { hasDev: true });

for (const choice of ["mine", "theirs"]) {
  step(`two tabs change one image: ${choice} stays`, async ({ tab, context, dev, url }) => {
    const other = await visit(context, url);
    await dev("fail=503");
    await tab.page.bringToFront();
    await tab.page.keyboard.press("g");
    for (const corner of [[100, 100], [200, 100], [200, 200]]) await tab.click(...corner);
    await tab.page.keyboard.press("Enter");
    await tab.page.waitForSelector('[data-test="save-state"][data-kind="failed"]');
    await dev("fail=0");
    // The other tab is sooner than the next try of this one.
    const { revision } = await other.image(1);
    await other.page.evaluate(async (known) => {
      const bbox = [10, 10, 50, 50];
      const objects = [{ uid: "other", category_id: 2, mask: null, bbox, iscrowd: false, polygons: null, source: "manual", score: null, prompt: null }];
      const headers = { "Content-Type": "application/json", "X-Sonotune": "1" };
      const body = JSON.stringify({ revision: known, objects, status: "draft", notes: "", client: "other" });
      await fetch("/api/images/1", { method: "PUT", headers, body });
    }, revision);
    await tab.test("conflict").waitFor();
    if (process.env.SHOTS) await tab.page.screenshot({ path: join(process.env.SHOTS, "conflict.png") });
    const text = await tab.test("conflict-text").innerText();
    assert.match(text, /1 object only in yours: lesion/);
    assert.match(text, /1 object only in theirs: vessel/);
    await tab.test(`conflict-${choice}`).click();
    await tab.saved();
    const { objects } = await tab.image(1);
    assert.equal(objects.length, 1);
    assert.equal(objects[0].uid === "other", choice === "theirs");
    if (choice === "theirs") {
      await tab.page.keyboard.press("Control+z");
      await tab.saved();
      assert.notEqual((await tab.image(1)).objects[0].uid, "other", "undo brings mine back");
    }
    await other.page.close();
  }, { hasDev: true });
}

step("another tab's save is shown", async ({ tab, context, url }) => {
  const other = await visit(context, url);
  await other.page.keyboard.press("g");
  for (const corner of [[100, 100], [200, 100], [200, 200]]) await other.click(...corner);
  await other.page.keyboard.press("Enter");
  await other.saved();
  await tab.until({ objects: 1 });
  assert.match(await tab.test("notice").first().innerText(), /Another tab/);
  await other.page.close();
});

step("without a model a box is an object, or an ellipse with corners", async ({ tab }) => {
  await tab.page.route("**/api/session", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ json: { ...(await answer.json()), model: null } });
  });
  await tab.page.reload();
  await tab.until({ ready: true });
  assert.equal(await tab.test("draft").isVisible(), false);
  assert.equal(await tab.test("tool-polygon").getAttribute("aria-pressed"), "true");
  await tab.page.keyboard.press("r");
  await tab.drag([60, 60], [160, 130]);
  await tab.until({ objects: 1 });
  await tab.test("shape-ellipse").click();
  await tab.drag([200, 60], [300, 130]);
  await tab.until({ objects: 2 });
  await tab.saved();
  let { objects } = await tab.image(1);
  assert.equal(objects[0].mask, null);
  assert.equal(objects[0].polygons, null);
  assert.equal(objects[1].polygons[0].length, 64);
  await tab.page.keyboard.press("v");
  await tab.page.keyboard.press("Shift+Tab");
  const [x, y, w, h] = objects[0].bbox;
  await tab.drag([x + w, y + h], [180, 160]);
  await tab.saved();
  objects = (await tab.image(1)).objects;
  assert.ok(Math.abs(objects[0].bbox[2] - (180 - x)) <= 2, `box ${objects[0].bbox}`);
});

step("an image that cannot be opened is said, and passed over", async ({ tab }) => {
  await tab.page.route("**/api/images/2", (route) => route.fulfill({ status: 422, json: { error: "b.png is no image" } }));
  await tab.page.keyboard.press("n");
  await tab.test("notice").waitFor();
  assert.match(await tab.test("notice").innerText(), /b\.png is no image/);
  assert.equal((await tab.facts()).imageId, "1");
  await tab.page.keyboard.press("n");
  await tab.until({ imageId: 3, ready: true });
});

step("touch: tap, two fingers, signs for removing", async ({ tab, context }) => {
  const client = await context.newCDPSession(tab.page);
  const touch = (type, points) => client.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
  const tap = async (x, y) => {
    await touch("touchStart", [await tab.spot(x, y)]);
    await touch("touchEnd", []);
  };
  await tap(200, 150);
  await tab.until({ objects: 1, asking: false });
  await tab.test("sign-remove").tap();
  await tap(215, 150);
  await tab.page.waitForTimeout(300);
  await tab.saved();
  assert.deepEqual((await tab.image(1)).objects[0].prompt.points.map(({ positive }) => positive), [true, false]);
  const { scale } = await tab.facts();
  const [x, y] = await tab.spot(200, 150);
  await touch("touchStart", [[x - 20, y]]);
  await touch("touchStart", [[x - 20, y], [x + 20, y]]);
  for (let i = 1; i <= 5; i += 1) await touch("touchMove", [[x - 20 - 8 * i, y], [x + 20 + 8 * i, y]]);
  await touch("touchEnd", []);
  await tab.page.waitForTimeout(100);
  assert.ok(Number((await tab.facts()).scale) > 2 * Number(scale), "pinched open");
  assert.equal((await tab.image(1)).objects.length, 1, "two fingers draw nothing");
  const wide = await tab.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(wide, 0, "nothing to scroll sideways");
  const small = await tab.page.evaluate(() => [...document.querySelectorAll("button, select, input")]
    .filter((one) => one.getClientRects().length > 0 && !one.closest("dialog"))
    .map((one) => [one.dataset.test, one.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < 43.5 || height < 43.5)
    .map(([name, { width, height }]) => `${name} ${width}×${height}`));
  assert.deepEqual(small, [], "everything to press is 44 pixels or more");
}, { context: { viewport: { width: 375, height: 812 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 } });

async function run({ name, run: act, options }) {
  const file = join(folder, `${(number += 1)}.json`);
  const ownPort = port + number;
  let server = await serve(program, [images, file], { port: ownPort });
  const proxy = options.hasDev ? await startDev(server.url) : null;
  const address = () => (proxy ? `http://127.0.0.1:${proxy.address().port}/` : server.url);
  let context = null;
  try {
    context = await browser(options.context);
    const tab = await visit(context, address());
    const kill = () => server.kill();
    const restart = async () => {
      server = await serve(program, [images, file], { port: ownPort });
      return server.url;
    };
    const dev = (query) => fetch(`${address()}dev?${query}`);
    await act({ tab, context, kill, restart, dev, url: address() });
    assert.deepEqual(tab.errors, []);
    await server.stop();
    JSON.parse(readFileSync(file, "utf8"));
    console.log(`ok    ${name}`);
    return true;
  } catch (error) {
    const shot = join(folder, `${number}.png`);
    await context?.pages().at(-1)?.screenshot({ path: shot }).catch(() => {});
    console.log(`FAILED ${name}\n${error.stack}\nscreenshot: ${shot}`);
    return false;
  } finally {
    await context?.close();
    await server.kill();
    proxy?.closeAllConnections();
    proxy?.close();
  }
}

let failures = 0;
for (const one of steps.filter(({ name }) => name.includes(only))) failures += (await run(one)) ? 0 : 1;
console.log(`${failures} failed`);
process.exitCode = failures > 0 ? 1 : 0;
