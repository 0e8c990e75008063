// An admin looks at the mails that wait for a relay that is away, tries one at once, and pages through the audit.
// Light and dark, wide and narrow, with and without JavaScript.
//
//   node tests/console/outbox_and_audit.mjs --mail-url smtp://127.0.0.1:1 [--binary target/debug/usherd]
import assert from "node:assert/strict";
import { eventually, there } from "./daemon.mjs";
import { WALKS, acceptAsAdmin, check, daemon, picture, run, tally, visit } from "./walk.mjs";

const INVITED = 30;
const console_ = (path) => `${daemon.origin}/admin/default${path}`;

await run(async () => {
  const session = await acceptAsAdmin();
  const empty = await visit(WALKS[0], session);
  await empty.page.goto(console_("/outbox"));
  await empty.page.getByText("No mail waits.").waitFor();
  await check(empty.page, "an empty outbox");
  await empty.context.close();
  for (let number = 0; number < INVITED; number += 1) {
    await daemon.ask("POST", "/api/v1/users", { email: `guest.${number}@hollis.example`, displayName: `Guest ${number}` });
  }
  for (const walk of WALKS) await look(walk, session);
});

async function look(walk, session) {
  const { page, finish } = await visit(walk, session);
  const org = page.getByRole("navigation", { name: "Org" });
  await page.goto(console_(""));
  await org.getByRole("link", { name: "Outbox" }).click();
  const waiting = page.getByRole("table", { name: /^Waiting/ });
  await eventually("the relay was tried", async () => {
    await page.reload();
    return (await waiting.getByText("next try").count()) > 0;
  });
  await there(waiting.getByRole("row"), 25 + 1, "a page of the queue");
  await check(page, "the outbox");
  await picture(page, `outbox-${walk.name}`);
  const html = await page.content();
  assert(!html.includes("/i/usi_"), "no invitation link is in the outbox");
  const row = waiting.getByRole("row").nth(1);
  await row.hover();
  await row.getByRole("button", { name: /^Retry now/ }).click();
  await page.getByRole("status").filter({ hasText: "The mail is tried now." }).waitFor();
  await page.getByRole("link", { name: "Next" }).click();
  await page.getByText("Page 2 of 2").waitFor();
  await there(waiting.getByRole("row"), INVITED - 25 + 1, "the rest of the queue");

  await org.getByRole("link", { name: "Audit" }).click();
  await page.getByRole("heading", { name: "Audit", level: 1 }).waitFor();
  await check(page, "the audit");
  await picture(page, `audit-${walk.name}`);
  await page.getByLabel("About").selectOption("user.");
  await page.getByRole("button", { name: "Show" }).click();
  const lines = page.locator(".timeline li");
  // Thirty invitations, and the first admin's own with its acceptance: all of them on one page.
  assert((await lines.filter({ hasText: "Invited" }).count()) >= INVITED);
  await page.getByLabel("About").selectOption("project.");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("Nothing to show.").waitFor();
  await check(page, "an audit without events of a kind");
  tally.steps += 1;
  await finish();
}
