// People sign in by an issuer of OpenID Connect, are told why they cannot, and prove there who they are. Light and dark,
// wide and narrow, with and without JavaScript.
//
//   node tests/console/openid.mjs --openid yes [--binary target/debug/usherd] [--pictures FOLDER]
import assert from "node:assert/strict";
import { ADMIN } from "./daemon.mjs";
import { WALKS, acceptAsAdmin, check, daemon, picture, run, visit } from "./walk.mjs";

await run(async () => {
  await acceptAsAdmin();
  for (const walk of WALKS) await openid(walk);
});

async function openid(walk) {
  const { page, step, finish } = await visit(walk);
  const begin = async () => {
    await page.goto(`${daemon.origin}/admin/sign-in`);
    await page.getByRole("link", { name: "Sign in with Hollis ID" }).click();
    await page.getByRole("heading", { name: "Hollis ID" }).waitFor();
  };
  const refused = async (words, where) => {
    await page.getByRole("heading", { name: "You are not signed in", level: 1 }).waitFor();
    await page.getByText(words).waitFor();
    await check(page, where);
    await picture(page, `openid-${where.replaceAll(" ", "-")}-${walk.name}`);
    await page.getByRole("link", { name: "Back to the sign-in page" }).click();
    await page.getByRole("heading", { name: "Sign in to the console" }).waitFor();
  };

  await step("the sign-in page offers the issuer beside the code", async () => {
    await page.goto(`${daemon.origin}/admin/sign-in`);
    await page.getByRole("button", { name: "Send me a code" }).waitFor();
    await page.getByRole("link", { name: "Sign in with Hollis ID" }).waitFor();
    await check(page, "sign in");
    await picture(page, `openid-sign-in-${walk.name}`);
  });

  await step("whoever turns back at the issuer is told", async () => {
    await begin();
    await page.getByRole("button", { name: "Cancel" }).click();
    await refused("You did not sign in at Hollis ID", "turned back");
  });

  await step("an address that is not verified does not do", async () => {
    await begin();
    await page.getByLabel("Address").fill(ADMIN);
    await page.getByRole("button", { name: "Sign in unverified" }).click();
    await refused("does not say that it has verified your mail address", "unverified");
  });

  await step("somebody whom nobody knows stays outside", async () => {
    await begin();
    await page.getByLabel("Address").fill("stranger@hollis.example");
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await refused("This account is not open to your address", "unknown");
  });

  await step("an answer that nobody waits for is none", async () => {
    await page.goto(`${daemon.origin}/admin/sign-in/openid/callback?code=x&state=y`);
    await refused("was not begun in this browser", "not begun here");
  });

  await step("an admin comes in by keyboard", async () => {
    await page.goto(`${daemon.origin}/admin/sign-in`);
    await page.getByRole("link", { name: "Sign in with Hollis ID" }).focus();
    await page.keyboard.press("Enter");
    await page.getByLabel("Address").fill(ADMIN);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Organization", level: 1 }).waitFor();
    await check(page, "signed in");
  });

  await step("what takes more trust is proven to the issuer, and the dialog comes back", async () => {
    await page.goto(`${daemon.origin}/admin/default/prove?next=/admin/default/settings`);
    await check(page, "prove");
    await picture(page, `openid-prove-${walk.name}`);
    await page.getByRole("link", { name: "Sign in again with Hollis ID" }).click();
    assert.equal(new URL(page.url()).searchParams.get("prompt"), "login");
    await page.getByLabel("Address").fill(ADMIN);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.waitForURL(`${daemon.origin}/admin/default/settings`);
  });

  await step("signing out ends the session", async () => {
    await page.goto(`${daemon.origin}/admin/default`);
    await page.locator("summary", { hasText: "You:" }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in to the console" }).waitFor();
    await page.goto(`${daemon.origin}/admin/default`);
    await page.getByRole("heading", { name: "Sign in to the console" }).waitFor();
  });

  await finish();
}
