// Drives the dashboard in Chromium. Arguments: the link, the app's port, a directory for pictures.
// Prints what it saw as one JSON object; any fault ends it with 1.
const { chromium } = require("playwright-core");
const assert = require("node:assert");
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

async function pictured(page, base) {
  const pages = {
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
  const wrong = [];
  for (const [name, hash] of Object.entries(pages)) {
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
