// What happens while an admin looks at a page: rows and counts change under their eyes, and focus, ticks and marked text
// stay. And how the account is doing, as curves. Light and dark, wide and narrow, with and without JavaScript.
//
//   node tests/console/live.mjs --redis 6379 [--binary target/debug/usherd] [--pictures folder]
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";

const redis = process.argv[process.argv.indexOf("--redis") + 1];
process.argv.push("--store-url", `redis://127.0.0.1:${redis}`);
const { eventually, there } = await import("./daemon.mjs");
const { WALKS, acceptAsAdmin, check, daemon, picture, run, tally, visit } = await import("./walk.mjs");

const USER = "urn:ietf:params:scim:schemas:core:2.0:User";
const console_ = (path) => `${daemon.origin}/admin/default${path}`;
const provision = (name) => daemon.ask("POST", "/scim/v2/Users", {
  schemas: [USER], userName: `${name.toLowerCase().replace(" ", ".")}@hollis.example`, displayName: name, active: true,
});
const deactivate = (id) => daemon.ask("PATCH", `/scim/v2/Users/${id}`, {
  schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], Operations: [{ op: "replace", path: "active", value: false }],
});

const row = (page, name) => page.getByRole("row").filter({ has: page.getByRole("link", { name, exact: true }) });
const count = (page, word) => page.getByRole("navigation", { name: "Status" }).getByRole("link", { name: word }).locator(".count").innerText();

await run(async () => {
  const session = await acceptAsAdmin();
  for (const walk of WALKS) {
    const { page, finish } = await visit(walk, session);
    await (walk.script ? directory(page, walk) : plain(page, walk));
    await jobs(page, walk);
    await charts(page, walk);
    await finish();
    tally.steps += 1;
  }
  await without_motion(session);
});

async function directory(page, walk) {
  const names = [`Ada ${walk.name}`, `Bea ${walk.name}`];
  const [ada, bea] = [await provision(names[0]), await provision(names[1])];
  await page.goto(console_(`/users?q=${walk.name}`));
  assert.equal(await count(page, "Pending"), "2");
  const link = page.getByRole("link", { name: names[0], exact: true });
  await link.focus();
  await page.evaluate((id) => {
    window.mark = document.getElementById(`u-${id}`);
    getSelection().selectAllChildren(window.mark.querySelector("th a"));
    for (const box of document.querySelectorAll("#rows input[type=checkbox]")) box.checked = true;
  }, ada.id);
  await deactivate(ada.id);
  await row(page, names[0]).getByText("Inactive", { exact: true }).waitFor();
  assert.equal(await count(page, "Pending"), "1");
  assert.equal(await count(page, "Inactive"), "1");
  await page.locator("#live", { hasText: /^Updated at \d\d:\d\d\. 1 person on this page has changed\.$/ }).waitFor();
  const kept = await page.evaluate((id) => ({
    row: window.mark === document.getElementById(`u-${id}`),
    focus: document.activeElement.closest("tr")?.id,
    marked: getSelection().toString(),
    ticks: [...document.querySelectorAll("#rows input[type=checkbox]")].every((box) => box.checked),
  }), ada.id);
  assert.deepEqual(kept, { row: true, focus: `u-${ada.id}`, marked: names[0], ticks: true });
  await check(page, "a directory that has changed");
  await picture(page, `live-${walk.name}`);

  // What a row has got meanwhile works like what it had.
  await row(page, names[0]).hover();
  await row(page, names[0]).getByRole("button", { name: /^Copy invitation link/ }).click();
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });

  // Somebody new is not pushed between the others under a hand that is about to click.
  await provision(`Cleo ${walk.name}`);
  await page.locator("#live", { hasText: "The list has changed." }).waitFor();
  assert.equal(await row(page, `Cleo ${walk.name}`).count(), 0);
  await check(page, "a directory that would be another");
  await picture(page, `live-other-${walk.name}`);
  await page.locator("#live").getByRole("link", { name: "Show the list as it is now" }).click();
  await row(page, `Cleo ${walk.name}`).waitFor();

  // On the tab of those who are Pending, somebody who is not any more says so.
  await page.goto(console_(`/users?status=pending&q=${walk.name}`));
  await deactivate(bea.id);
  await page.locator(`#u-${bea.id}[data-gone]`).waitFor();
  await check(page, "a row that is not in the list any more");
  await picture(page, `live-gone-${walk.name}`);
}

/** Without a script nothing moves, and the page is as it was. */
async function plain(page, walk) {
  const ada = await provision(`Ada ${walk.name}`);
  await page.goto(console_(`/users?q=${walk.name}`));
  await deactivate(ada.id);
  await row(page, `Ada ${walk.name}`).getByText("Pending", { exact: true }).waitFor();
  assert.equal(await page.locator("#live").innerText(), "");
  await check(page, "a directory without a script");
  await page.reload();
  await row(page, `Ada ${walk.name}`).getByText("Inactive", { exact: true }).waitFor();
}

async function without_motion(session) {
  const { page, finish } = await visit(WALKS[0], session);
  await page.emulateMedia({ reducedMotion: "reduce" });
  const gus = await provision("Gus Still");
  await page.goto(console_("/users?q=still"));
  await deactivate(gus.id);
  await row(page, "Gus Still").getByText("Inactive", { exact: true }).waitFor();
  const moving = await page.evaluate(() => document.getAnimations().length);
  assert.equal(moving, 0, "it changes, and nothing moves");
  await finish();
}

/** What came of a job shows by itself; without a script, after a reload. */
async function jobs(page, walk) {
  await page.goto(console_("/jobs"));
  const retention = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: "Retention" }) });
  await retention.getByRole("button", { name: /^Run now/ }).click();
  await page.getByRole("status").filter({ hasText: "The job runs now." }).waitFor();
  if (walk.script) {
    await retention.getByText("Result").waitFor();
    await retention.getByText("runs now").waitFor({ state: "detached" });
  } else {
    await eventually("the run has a result", async () => {
      await page.reload();
      return (await retention.getByText("Result").count()) > 0 && (await retention.getByText("runs now").count()) === 0;
    });
  }
}

async function charts(page, walk) {
  const days = past(walk.width);
  // The retention has counted today, so the document is there.
  execFileSync("redis-cli", ["-p", redis, "HSET", "usherd:{default}:doc:census:days", "body", JSON.stringify(days)]);
  await page.goto(console_(""));
  const active = page.getByRole("list", { name: "People" }).getByRole("link", { name: /Active/ });
  await active.getByText("between 1 and 89").waitFor();
  await there(page.locator("svg.curve polyline"), 3);
  const points = (await page.locator("svg.curve polyline").first().getAttribute("points")).split(" ");
  assert.equal(points.length, 90, "a point for each of ninety days");
  await page.getByText("People by day, as a table").click();
  const table = page.getByRole("table", { name: "People by day" });
  await there(table.getByRole("row"), 91);
  const yesterday = days.at(-1);
  await table.getByRole("row", { name: `${yesterday.day} ${yesterday.active} ${yesterday.pending} ${yesterday.inactive}` }).waitFor();
  await check(page, "the charts");
  await page.getByText("People by day, as a table").click();
  await picture(page, `charts-${walk.name}`);
  const pending = page.getByRole("table", { name: "Pending, by how long" });
  await pending.getByRole("row", { name: /^up to 1 day [1-9]/ }).waitFor();
  await page.getByRole("table", { name: "Mails of the last 30 days" }).getByRole("row", { name: /^sent [1-9]/ }).waitFor();
  await page.getByRole("link", { name: "400 days" }).click();
  await page.getByText("People by day, as a table").click();
  // A year and more is a line a week.
  await there(table.getByRole("row"), 1 + Math.ceil(400 / 7));
  await check(page, "the charts of a year");
}

/** Four hundred days that end yesterday, on which an account grew. */
function past(seed) {
  return Array.from({ length: 400 }, (_, number) => {
    const day = new Date(Date.now() - (400 - number) * 86_400_000).toISOString().slice(0, 10);
    const recent = Math.max(0, number - 310);
    return { day, pending: (number * seed) % 17, active: recent, inactive: Math.floor(number / 40), sent: 0, bounced: 0 };
  });
}
