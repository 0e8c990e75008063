// What every walk through the console shares: a usherd and a browser of its own, and what each page has to pass: axe,
// 60 kB, no violation of the content security policy, no sideways scrolling.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { ADMIN, start } from "./daemon.mjs";
import { CLIENT, startIssuer } from "./issuer.mjs";

const option = (name, usual) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? usual : process.argv[at + 1];
};
const pictures = option("--pictures", null);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WALK = Symbol("walk");
const MAX_PAGE = 60_000;

export const WALKS = [
  { name: "wide-light", width: 1280, scheme: "light", script: true },
  { name: "narrow-dark", width: 375, scheme: "dark", script: true },
  { name: "wide-dark-plain", width: 1280, scheme: "dark", script: false },
  { name: "narrow-light-plain", width: 375, scheme: "light", script: false },
];

export const tally = { steps: 0, pages: 0, heaviest: 0 };
const issuer = option("--openid", null) && (await startIssuer());
// The brake acts on the third person, so that a walk can see it.
export const daemon = await start(resolve(option("--binary", "target/debug/usherd")), {
  USHERD_PROVISIONING__BRAKE__MIN: "2",
  USHERD_PROVISIONING__BRAKE__PERCENT: "1",
  ...(issuer && {
    USHERD_ISSUERS__ALLOW_PRIVATE: "true", USHERD_OPENID__ISSUER: issuer.url, USHERD_OPENID__NAME: "Hollis ID",
    USHERD_OPENID__CLIENT_ID: CLIENT.id, USHERD_OPENID__CLIENT_SECRET: CLIENT.secret,
  }),
  ...(option("--store-url", null) && { USHERD_STORE__URL: option("--store-url", null) }),
  ...(option("--mail-url", null) && { USHERD_MAIL__URL: option("--mail-url", null), USHERD_MAIL__FROM: "usherd <no-reply@hollis.example>" }),
});
export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

/** Runs `walk` to its end, and everything down. */
export async function run(walk) {
  try {
    await walk();
    console.log(`ok: ${tally.steps} steps, ${tally.pages} pages checked, the heaviest of ${tally.heaviest} bytes`);
  } catch (error) {
    console.error(daemon.log().split("\n").filter((line) => /WARN|ERROR/.test(line)).slice(-5).join("\n"));
    throw error;
  } finally {
    await browser.close();
    await daemon.stop();
    await issuer?.stop();
  }
}

/** A browser for one walk, as its name says, signed in by `session`. */
export async function visit(walk, session) {
  const context = await browser.newContext({
    viewport: { width: walk.width, height: 800 }, colorScheme: walk.scheme, javaScriptEnabled: walk.script,
    storageState: session, bypassCSP: false,
  });
  context[WALK] = walk;
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => { if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) wrong.push(message.text()); });
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("response", async (response) => {
    if (!/text\/html/.test(response.headers()["content-type"] ?? "") || response.status() >= 300 && response.status() < 400) return;
    // On the wire; what is none of a page that was left already.
    const { responseBodySize: bytes } = await response.request().sizes().catch(() => ({ responseBodySize: 0 }));
    tally.heaviest = Math.max(tally.heaviest, bytes);
    if (bytes > MAX_PAGE) wrong.push(`${response.url()} has ${bytes} bytes`);
  });
  /** One step: counted, told, and named when it fails. */
  const step = async (what, act) => {
    try {
      await act();
      tally.steps += 1;
      console.log(`${walk.name}: ${what}`);
    } catch (error) {
      await page.screenshot({ path: join(tmpdir(), `usherd-console-${walk.name}.png`) }).catch(() => {});
      error.message = `${walk.name}: ${what} (${page.url()}): ${error.message}`;
      throw error;
    }
  };
  const seen = async (name) => {
    await check(page, name);
    await picture(page, `${name.replaceAll(" ", "-")}-${walk.name}`);
  };
  const finish = async () => {
    assert.deepEqual(wrong, [], `${walk.name}: what the browser complained of`);
    await context.close();
  };
  return { context, page, step, seen, finish };
}

/** Nothing that axe finds, and no sideways scrolling of the page. */
export async function check(page, where) {
  const walk = page.context()[WALK];
  if (!walk.script) return checkCopy(page, where, walk);
  // axe runs in a world that the policy of the page does not bind.
  tally.pages += 1;
  const client = await page.context().newCDPSession(page);
  const { frameTree } = await client.send("Page.getFrameTree");
  const world = await client.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: `axe${tally.pages}` });
  const contextId = world.executionContextId;
  const run = async (expression) => {
    const reply = await client.send("Runtime.evaluate", { expression, contextId, awaitPromise: true, returnByValue: true });
    if (reply.exceptionDetails) throw new Error(`${where}: ${JSON.stringify(reply.exceptionDetails.exception?.description)}`);
    return reply.result.value;
  };
  await run(axe + ";undefined");
  const found = await run(`axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).join("; ")))`);
  assert.deepEqual(found, [], `axe on ${where}`);
  const sideways = await run("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  assert.equal(sideways, 0, `${where} scrolls sideways`);
  await client.detach();
}

/** axe needs timers, which do not fire with scripts off: it looks at the same page in a browser that has them on. */
async function checkCopy(page, where, walk) {
  const html = await page.content();
  const context = await browser.newContext({ viewport: { width: walk.width, height: 800 }, colorScheme: walk.scheme });
  context[WALK] = { ...walk, script: true };
  const copy = await context.newPage();
  await copy.route("**/*.js", (route) => route.abort());
  await copy.route(page.url(), (route) => route.fulfill({ contentType: "text/html; charset=utf-8", body: html }));
  await copy.goto(page.url());
  await check(copy, where);
  await context.close();
}

export async function picture(page, name) {
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png` });
}

export async function acceptAsAdmin() {
  const { context, page, finish } = await visit(WALKS[0]);
  await page.goto(daemon.adminLink);
  await check(page, "accept");
  await page.getByLabel("Your e-mail address").fill(ADMIN);
  await page.getByLabel("Given name").fill("Mara");
  await page.getByLabel("Family name").fill("Hollis");
  await page.getByRole("button", { name: "Accept invitation" }).click();
  await check(page, "accepted");
  await page.getByRole("link", { name: "Go to the console" }).click();
  await page.getByRole("heading", { name: "Organization", level: 1 }).waitFor();
  await check(page, "organization");
  const session = await context.storageState();
  await finish();
  tally.steps += 1;
  return session;
}
