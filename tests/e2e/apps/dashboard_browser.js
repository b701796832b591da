// Drives the dashboard in Chromium. Arguments: the link, the app's port, a directory for pictures.
// Prints what it saw as one JSON object; any fault ends it with 1.
const { chromium } = require("playwright-core");
const assert = require("node:assert");
const axe = require("axe-core").source;
const [url, port, pictures] = process.argv.slice(2);
const LIMIT = 60_000;
const LONG = "thisnamehasnoplaceatwhichalinemaybebrokenandisaslongasitmaybe064";
const LONG_ROUTE = "GET /organisations/:organisationIdentifier/repositories/:repositoryIdentifier";

const ask = (path) => fetch(`http://127.0.0.1:${port}${path}`).then((response) => response.text());

async function load() {
  for (let i = 0; ; i += 1) {
    if (i % 10 === 1) await ask("/organisations/acme/repositories/pando").catch(() => {});
    await ask(i % 10 === 0 ? "/fails" : `/users/${i}`).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const faults = [];

function listen(page) {
  page.on("console", (message) => {
    if (message.type() === "error" || /Content.Security.Policy/i.test(message.text())) faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
}

const cell = (page, label) => page.locator(`td[data-label="${label}"]`).first();

async function overview(page) {
  await page.getByRole("link", { name: "api", exact: true }).first().waitFor({ timeout: LIMIT });
  const rate = cell(page, "Requests/s");
  await page.waitForFunction((e) => Number(e.textContent) > 5, await rate.elementHandle(), { timeout: LIMIT });
  const first = await rate.textContent();
  await page.waitForFunction(([e, was]) => e.textContent !== was, [await rate.elementHandle(), first], { timeout: LIMIT });
  await page.locator('td[data-label="Errors"] .value.bad').waitFor({ timeout: LIMIT });
}

async function app(page) {
  await page.getByRole("link", { name: "api", exact: true }).first().click();
  await page.getByRole("heading", { name: "api", exact: true }).waitFor();
  const row = page.locator("tr", { hasText: "/users/:id" });
  await row.waitFor({ timeout: LIMIT });
  const fails = page.locator("tr", { hasText: "/fails" });
  await fails.locator('td[data-label="5xx"]', { hasText: "100%" }).waitFor({ timeout: LIMIT });
  const count = async () => (await row.locator('td[data-label="Requests"]').textContent()).trim();
  const before = await count();
  for (const end = Date.now() + LIMIT; (await count()) === before; ) {
    assert(Date.now() < end, `the count stays ${before}`);
    await page.waitForTimeout(200);
  }
  await page.locator(".chart", { hasText: "Requests" }).first().locator("canvas").waitFor();
  await page.waitForFunction(() => /now \d/.test(document.querySelector(".plot").getAttribute("aria-label")), null, { timeout: LIMIT });
  // Charts are drawn anew in other colours; their legends have one value each all the same.
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    await page.waitForFunction(() => document.querySelector(".legend b").textContent.endsWith("/s"), null, { timeout: LIMIT });
  }
}

async function keysAndSpans(page) {
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("2");
  await page.waitForURL(/range=1h/);
  await page.locator('.picker button[aria-pressed="true"]', { hasText: "1 h" }).waitFor();
  const plot = await page.locator(".u-over").first().boundingBox();
  await page.mouse.move(plot.x + plot.width * 0.4, plot.y + 40);
  await page.mouse.down();
  await page.mouse.move(plot.x + plot.width * 0.7, plot.y + 40, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/from=\d+/);
  await page.keyboard.press("b");
  await page.waitForURL(/range=1h$/);
  await page.keyboard.press("1");
  await page.keyboard.press("Tab");
  const focused = await page.evaluate(() => document.activeElement.tagName);
  assert(["A", "BUTTON", "SELECT"].includes(focused), focused);
}

async function logs(page) {
  await ask("/says/needle");
  for (let i = 0; i < 5; i += 1) await ask(`/says/straw${i}`);
  await page.keyboard.press("g");
  await page.keyboard.press("l");
  await page.waitForURL(/logs\/api/);
  await page.locator(".log p", { hasText: "heard <b>straw4</b>" }).waitFor({ timeout: LIMIT });
  assert.equal(await page.locator(".log .text b").count(), 0, "text became HTML");
  await ask("/shouts");
  const long = page.locator(".log p", { hasText: "characters more" }).first();
  await long.waitFor({ timeout: LIMIT });
  const height = await long.evaluate((line) => line.clientHeight);
  assert(height < 400, `a line of a megabyte is ${height} pixels high`);
  await long.locator("summary").click();
  await long.locator("details", { hasText: /of \d{5,} bytes/ }).waitFor();
  await page.locator(".log p .text", { hasText: /^red end$/ }).waitFor({ timeout: LIMIT });
  await page.keyboard.press("/");
  await page.keyboard.type("needle");
  await page.waitForURL(/q=needle/);
  // The lines that are there are marked at once; what was found comes in their place.
  const foundOne = () => {
    const lines = document.querySelectorAll(".log p");
    return lines.length === 1 && lines[0].querySelector("mark")?.textContent === "needle";
  };
  await page.waitForFunction(foundOne, undefined, { timeout: LIMIT });
  await ask("/says/needle2");
  await page.locator(".log p", { hasText: "needle2" }).waitFor({ timeout: LIMIT });
}

const PAGES = {
  overview: "#/",
  app: "#/app/api",
  "app-long": `#/app/${LONG}`,
  "endpoint-long": `#/app/api/endpoint/${encodeURIComponent(LONG_ROUTE)}`,
  endpoint: "#/app/api/endpoint/GET%20%2Fusers%2F%3Aid",
  worker: "#/app/api/worker/0",
  gateway: "#/gateway",
  events: "#/events?range=1h",
  logs: "#/logs",
};

async function pictured(page, base) {
  const wrong = [];
  for (const [name, hash] of Object.entries(PAGES)) {
    for (const [kind, width, height, colorScheme] of [
      ["light", 1440, 900, "light"],
      ["dark", 1440, 900, "dark"],
      ["phone", 390, 844, "light"],
      ["narrow", 360, 740, "dark"],
    ]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await page.goto(base + hash);
      await page.locator("h1, .empty, .problem").first().waitFor({ state: "attached" });
      await page.waitForTimeout(700);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) wrong.push(`${name} is ${wide} wide on ${width}`);
      await page.screenshot({ path: `${pictures}/${name}-${kind}.png`, fullPage: name !== "logs" });
    }
  }
  assert.deepEqual(wrong, []);
}

// What a screen reader or a keyboard would stumble over.
async function accessible(page, base) {
  await page.setViewportSize({ width: 1440, height: 900 });
  for (const hash of Object.values(PAGES)) {
    await page.goto(base + hash);
    await page.locator("h1, .empty, .problem").first().waitFor({ state: "attached" });
    await page.evaluate(`${axe};0`);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    assert.deepEqual(violations.map((one) => `${hash} ${one.id}: ${one.nodes[0].html}`), []);
  }
}

// A browser whose clock is five hours ahead sees the same.
async function otherClock(context, base) {
  const page = await context.newPage();
  listen(page);
  await page.addInitScript(() => {
    const { now } = Date;
    Date.now = () => now.call(Date) + 5 * 3_600_000;
  });
  await page.goto(`${base}#/app/api`);
  await page.waitForFunction(() => /now \d/.test(document.querySelector(".plot")?.getAttribute("aria-label")), null, { timeout: LIMIT });
  await page.locator("tr", { hasText: "/users/:id" }).waitFor({ timeout: LIMIT });
  await page.close();
}

// Nobody looked for a while, then somebody does: nothing is called lost.
async function awayAndBack(page, base) {
  await page.goto(`${base}#/app/api`);
  await page.locator(".connection.good").waitFor({ timeout: LIMIT });
  await page.evaluate(() => {
    window.lost = 0;
    new MutationObserver(() => (window.lost += document.querySelectorAll(".lost").length)).observe(document.body, { subtree: true, childList: true });
    Object.defineProperty(document, "hidden", { configurable: true, get: () => window.away });
    window.away = true;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForTimeout(7000);
  const time = await page.locator(".connection time").textContent();
  await page.evaluate(() => {
    window.away = false;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForFunction((was) => document.querySelector(".connection time")?.textContent !== was, time, { timeout: LIMIT });
  assert.equal(await page.evaluate(() => window.lost), 0, "what nobody looked at was called lost");
}

async function reload(page, base) {
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.goto(`${base}#/app/api`);
  await page.getByRole("button", { name: "Reload" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Reload" }).click();
  await page.locator(".notice:not(.bad)").first().waitFor({ timeout: LIMIT });
}

(async () => {
  load();
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  listen(page);
  await page.goto(url);
  const base = page.url();
  assert(!base.includes("token"), base);
  await overview(page);
  await app(page);
  await keysAndSpans(page);
  await logs(page);
  await pictured(page, base);
  await accessible(page, base);
  await otherClock(context, base);
  await awayAndBack(page, base);
  await reload(page, base);
  const again = await (await browser.newContext()).newPage();
  assert.equal((await again.goto(url)).status(), 403, "a link was good twice");
  assert.equal((await again.goto(base)).status(), 401, "the page without a session");
  assert.deepEqual(faults, []);
  await browser.close();
  process.exit(0);
})().catch((error) => {
  console.error(error, faults);
  process.exit(1);
});
