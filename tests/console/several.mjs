// An admin does something to several people at once, imports a list and saves the directory as a file. Light and dark,
// wide and narrow, with and without JavaScript, and with the keyboard alone.
//
//   node tests/console/several.mjs [--binary target/debug/usherd] [--pictures FOLDER]
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { eventually, there } from "./daemon.mjs";
import { WALKS, acceptAsAdmin, check, daemon, picture, run, tally, visit } from "./walk.mjs";

const slug = (walk) => walk.name.replaceAll("-", "");
const mail = (who, walk) => `${who}.${slug(walk)}@hollis.example`;

await run(async () => {
  for (const name of ["Hollis Research", "Hollis Theatre"]) await daemon.ask("POST", "/scim/v2/Organizations", { displayName: name });
  for (const name of ["Winter Season", "Box Office"]) await daemon.ask("POST", "/scim/v2/Projects", { displayName: name });
  const session = await acceptAsAdmin();
  for (const walk of WALKS) await several(walk, session);
  await keyboardOnly(session);
  await large(session);
});

async function several(walk, session) {
  for (const who of ["Ada", "Alan", "Grace"]) await daemon.ask("POST", "/api/v1/users", { email: mail(who.toLowerCase(), walk), displayName: `${who} ${slug(walk)}` });
  const { page, step, seen, finish } = await visit(walk, session);
  const dialog = (title) => (walk.script ? page.getByRole("dialog", { name: title }) : page.getByRole("region", { name: title }));
  const directory = `${daemon.origin}/admin/default/users?q=${slug(walk)}`;
  const tick = (who) => page.getByRole("checkbox", { name: `${who} ${slug(walk)}` }).check();
  const act = async (words) => {
    const summary = page.locator("summary", { hasText: "With selected people" });
    if (!(await page.locator("#picking[open]").count())) await summary.click();
    await page.locator("#picking").getByRole("button", { name: words }).click();
  };
  const result = (who) => page.getByRole("row").filter({ hasText: `${who} ${slug(walk)}` });

  await step("people are ticked, and an act on nobody says so", async () => {
    await page.goto(directory);
    await act("Resend invitation");
    await dialog("Resend Invitations").getByText("Nobody is selected.").waitFor();
    await seen("nobody is selected");
    await dialog("Resend Invitations").getByRole("link", { name: "Close" }).click();
    await page.goto(directory);
    await tick("Ada");
    await tick("Alan");
    if (walk.script) {
      await page.getByRole("status").filter({ hasText: "2 people are selected." }).waitFor();
      await there(page.locator("#picking[open]"), 1, "what can be done opens by itself");
    }
    await seen("two people are selected");
  });

  await step("the dialog lists them, and closing it changes nothing", async () => {
    await act("Resend invitation");
    const asked = dialog("Resend Invitations");
    await asked.getByText("2 people", { exact: true }).waitFor();
    for (const who of ["Ada", "Alan"]) await asked.getByRole("listitem").filter({ hasText: `${who} ${slug(walk)}` }).waitFor();
    assert.equal(await asked.getByRole("listitem").filter({ hasText: "Grace" }).count(), 0);
    await seen("resend to several");
    await asked.getByRole("link", { name: "Cancel" }).click();
    if (walk.script) {
      await asked.waitFor({ state: "detached" });
      await eventually("focus on what opened it", () => page.evaluate(() => document.activeElement.textContent === "Resend invitation"));
    } else {
      await page.waitForURL(directory); // back to the same view
      for (const who of ["Ada", "Alan"]) await tick(who);
    }
  });

  await step("each has a result, with why not", async () => {
    const before = daemon.count(mail("alan", walk));
    await act("Resend invitation");
    await dialog("Resend Invitations").getByRole("button", { name: "Resend invitations" }).click();
    await page.getByText("Done for 2 of 2 people.").waitFor();
    await daemon.mailed(mail("alan", walk), /http\S+\/i\//, before);
    await page.getByRole("link", { name: "Back to User Management" }).click();
    await page.waitForURL(directory);
    await page.locator("summary", { hasText: "With selected people" }).click();
    await page.getByRole("link", { name: "Select all on this page" }).click();
    await there(page.getByRole("checkbox", { checked: true }), 3);
    if (walk.script) await page.getByRole("status").filter({ hasText: "3 people are selected." }).waitFor();
    await act("Resend invitation");
    await dialog("Resend Invitations").getByRole("button", { name: "Resend invitations" }).click();
    await page.getByRole("status").filter({ hasText: "Done for 1 of 3 people." }).waitFor();
    await result("Ada").getByText("rate_limited").waitFor();
    await result("Ada").getByText(/Too many invitations; try again in \d+ seconds\./).waitFor();
    await result("Grace").getByText("Invitation sent").waitFor();
    await seen("results of several");
  });

  await step("an organization and a license for several", async () => {
    await page.goto(directory);
    await tick("Ada");
    await tick("Grace");
    await act("Change Organization");
    await dialog("Change Organization").getByLabel("Organization").selectOption("Hollis Theatre");
    await seen("organization of several");
    await dialog("Change Organization").getByRole("button", { name: "Save" }).click();
    await result("Grace").getByText("Organization changed").waitFor();
    await page.goto(directory);
    await tick("Ada");
    await act("Assign license");
    await dialog("Assign License").getByLabel("License").selectOption({ label: "KSE" });
    await dialog("Assign License").getByRole("button", { name: "Assign" }).click();
    await result("Ada").getByText("License assigned").waitFor();
    await result("Ada").getByRole("link").click();
    for (const words of ["Hollis Theatre", "KSE"]) await page.locator("main").getByText(words, { exact: true }).first().waitFor();
  });

  await step("several are deactivated, and one invitation is revoked", async () => {
    await page.goto(directory);
    await tick("Ada");
    await tick("Alan");
    await act("Deactivate");
    const asked = dialog("Deactivate Users From Account");
    await asked.waitFor();
    if (walk.script) await eventually("focus on Cancel", () => page.evaluate(() => document.activeElement.textContent === "Cancel"));
    await seen("deactivate several");
    await asked.getByRole("button", { name: "Deactivate" }).click();
    await page.getByText("Done for 2 of 2 people.").waitFor();
    await result("Alan").getByText("Inactive now").waitFor();
    await page.goto(directory);
    await tick("Ada");
    await tick("Grace");
    await act("Revoke invitation");
    await dialog("Revoke Invitations").getByRole("button", { name: "Revoke" }).click();
    await result("Ada").getByText("not_pending").waitFor();
    await result("Grace").getByText("Invitation revoked").waitFor();
    assert.equal(await result("Grace").getByRole("link").count(), 0, "whom nobody manages is gone");
  });

  const file = (text) => ({ name: "people.csv", mimeType: "text/csv", buffer: Buffer.from(text) });

  await step("a list that cannot be read says why", async () => {
    await page.goto(`${daemon.origin}/admin/default/users`);
    await page.getByRole("link", { name: "Import a list" }).click();
    await page.getByRole("heading", { name: "Import a list", level: 1 }).waitFor();
    await seen("import a list");
    await page.getByLabel("CSV file").setInputFiles(file(Buffer.from([0xff, 0xfe, 0x65, 0])));
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByRole("alert").filter({ hasText: "not UTF-8" }).waitFor();
    await page.getByLabel("Or paste its lines").fill("name\nAda");
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByRole("alert").filter({ hasText: "one of them has to be `email`" }).waitFor();
    assert.equal(await page.getByLabel("Or paste its lines").inputValue(), "name\nAda", "what was pasted stays");
    await seen("a list with a mistake");
  });

  await step("the preview says what each line would do, and the result what it did", async () => {
    const list = `email;given name;family name;status;organization;projects\n${mail("hedy", walk)};Hedy;Lamarr;Active;Hollis Theatre;Winter Season:Viewer\n`
      + `${mail("mary", walk)};Mary;Jackson;Inactive;;\n${mail("annie", walk)};Annie;"Easley\nSmith";;;\nnobody;No;Body;;;\n${mail("jean", walk)};Jean;Bartik;perhaps;;\n`;
    await page.getByLabel("CSV file").setInputFiles(file("\ufeff" + list));
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByText("3 of 5 lines can be imported. Nothing has happened yet.").waitFor();
    const row = (who) => page.getByRole("row").filter({ hasText: who });
    await row("Hedy Lamarr").getByText("Will be Active at once").waitFor();
    await row("Mary Jackson").getByText("Will be Inactive").waitFor();
    await row("Annie").getByText("Will be invited").waitFor();
    await row("Jean").getByText("“perhaps”").or(row("Jean").getByText("is no status")).waitFor();
    await seen("preview of a list");
    assert.equal((await daemon.ask("GET", `/api/v1/users?search=${mail("hedy", walk)}`)).total, 0);
    await page.getByRole("button", { name: "Import 3 people" }).click();
    await page.getByRole("status").filter({ hasText: "3 of 5 lines done." }).waitFor();
    await seen("list imported");
    await daemon.mailed(mail("annie", walk), /http\S+\/i\//);
    const { users: [hedy] } = await daemon.ask("GET", `/api/v1/users?search=${mail("hedy", walk)}`);
    assert.deepEqual([hedy.status, hedy.organization.name, hedy.projects[0].role], ["Active", "Hollis Theatre", "Viewer"]);
    assert.equal(daemon.count(mail("hedy", walk)), 0, "no mail to who is Active already");
  });

  await step("what is listed is saved as a file", async () => {
    await page.goto(`${daemon.origin}/admin/default/users?q=${slug(walk)}&status=active`);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Save this list as CSV" }).click()]);
    assert.equal(download.suggestedFilename(), "users-default.csv");
    const lines = readFileSync(await download.path(), "utf8").trimEnd().split("\r\n");
    assert.equal(lines.length, 2, lines.join("\n"));
    assert.match(lines[1], new RegExp(`^${mail("hedy", walk)},Hedy,Lamarr,.*,Active,`));
  });

  await finish();
}

/** Tab, Space and Enter alone: tick two people, act on them, read the results. */
async function keyboardOnly(session) {
  for (const who of ["First", "Second"]) await daemon.ask("POST", "/api/v1/users", { email: `${who.toLowerCase()}.keys@hollis.example`, displayName: `${who} Keys` });
  const { page, finish } = await visit(WALKS[0], session);
  const tabTo = async (what, fits) => {
    for (let presses = 0; presses < 80; presses += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(fits)) return;
    }
    throw new Error(`no Tab leads to ${what}`);
  };
  await page.goto(`${daemon.origin}/admin/default/users?q=keys`);
  await tabTo("the first box", () => document.activeElement.closest(".pick")?.textContent.trim() === "First Keys");
  await page.keyboard.press("Space");
  await tabTo("the second box", () => document.activeElement.closest(".pick")?.textContent.trim() === "Second Keys");
  await page.keyboard.press("Space");
  await page.getByRole("status").filter({ hasText: "2 people are selected." }).waitFor();
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press("Shift+Tab");
    if (await page.evaluate(() => document.activeElement.textContent === "Deactivate")) break;
  }
  await page.keyboard.press("Enter");
  const asked = page.getByRole("dialog", { name: "Deactivate Users From Account" });
  await asked.waitFor();
  await page.keyboard.press("Escape");
  await asked.waitFor({ state: "detached" });
  await eventually("focus on what opened it", () => page.evaluate(() => document.activeElement.textContent === "Deactivate"));
  await page.keyboard.press("Enter");
  await asked.waitFor();
  await tabTo("the button", () => document.activeElement.matches("dialog button[type=submit]"));
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: "Done for 2 of 2 people." }).waitFor();
  await finish();
  tally.steps += 1;
}

/** A hundred people picked, and the preview of five hundred, within the bound of a page. */
async function large(session) {
  const { page, finish } = await visit(WALKS[1], session);
  await page.goto(`${daemon.origin}/admin/default/users/import`);
  const people = Array.from({ length: 500 }, (_, number) => `somebody.with.a.long.name.${number}@research.hollis.example,Somebody,Number ${number},Inactive`);
  const preview = async (number) => {
    await page.getByLabel("Or paste its lines").fill(["email,given name,family name,status", ...people.slice(0, number)].join("\n"));
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByText(`${number} of ${number} lines can be imported.`).waitFor({ timeout: 60_000 });
  };
  await preview(500);
  await page.getByRole("button", { name: "Change the list" }).click();
  await preview(100);
  await page.getByRole("button", { name: "Import 100 people" }).click();
  await page.getByText("100 of 100 lines done.").waitFor({ timeout: 60_000 });
  await page.goto(`${daemon.origin}/admin/default/users?q=somebody&size=100&select=all`);
  await page.getByRole("button", { name: "Change Organization" }).click();
  const asked = page.getByRole("dialog", { name: "Change Organization" });
  await asked.getByText("100 people", { exact: true }).waitFor();
  await check(page, "a hundred picked");
  await picture(page, "a-hundred-picked");
  await asked.getByLabel("Organization").selectOption("Hollis Research");
  await asked.getByRole("button", { name: "Save" }).click();
  await page.getByText("Done for 100 of 100 people.").waitFor({ timeout: 60_000 });
  await finish();
  tally.steps += 1;
}
