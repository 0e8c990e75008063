// An admin adds people, edits, releases and erases them, finds them by what they are assigned to, and changes between
// accounts. Light and dark, wide and narrow, with and without JavaScript.
//
//   node tests/console/people.mjs [--binary target/debug/usherd] [--pictures FOLDER]
import assert from "node:assert/strict";
import { WALKS, acceptAsAdmin, check, daemon, picture, run, tally, visit } from "./walk.mjs";

await run(async () => {
  for (const name of ["Hollis Research", "Hollis Theatre"]) await daemon.ask("POST", "/scim/v2/Organizations", { displayName: name });
  for (const name of ["Winter Season", "Box Office"]) await daemon.ask("POST", "/scim/v2/Projects", { displayName: name });
  const session = await acceptAsAdmin();
  for (const walk of WALKS) await people(walk, session);
});

async function people(walk, session) {
  const { context, page, wrong } = await visit(walk, session);
  const step = async (what, act) => {
    try {
      await act();
      tally.steps += 1;
      console.log(`${walk.name}: ${what}`);
    } catch (error) {
      await page.screenshot({ path: `/tmp/usherd-console-${walk.name}.png` }).catch(() => {});
      error.message = `${walk.name}: ${what} (${page.url()}): ${error.message}`;
      throw error;
    }
  };
  const seen = async (name) => {
    await check(page, name);
    await picture(page, `${name.replaceAll(" ", "-")}-${walk.name}`);
  };
  const at = (who) => `${who}.${walk.name.replaceAll("-", ".")}@hollis.example`;
  const row = (who) => page.getByRole("row").filter({ hasText: at(who) });
  const directory = `${daemon.origin}/admin/default/users`;

  await step("an empty list leads to Add users", async () => {
    await page.goto(`${directory}?status=inactive`);
    if (walk === WALKS[0]) await seen("nobody is Inactive");
    await page.getByRole("link", { name: "Add users" }).first().click();
    await page.getByRole("heading", { name: "Add users", level: 1 }).waitFor();
    await seen("add users");
  });

  await step("a mistake is told beside its field, and what was typed stays", async () => {
    await page.getByLabel("Language of the mails").fill("deutsch, bitte");
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByRole("alert").getByRole("link", { name: "Type or paste at least one address." }).waitFor();
    await page.getByLabel("Addresses").fill(at("ada"));
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByRole("alert").getByRole("link", { name: /Type a language tag/ }).waitFor();
    assert.equal(await page.getByLabel("Addresses").inputValue(), at("ada"));
    assert.equal(await page.getByLabel("Language of the mails").inputValue(), "deutsch, bitte");
    await seen("add users with a mistake");
    await page.getByLabel("Language of the mails").fill("de");
  });

  await step("the preview says what would happen to each, and nothing has happened", async () => {
    await page.getByLabel("Addresses").fill(`Ada Lovelace <${at("ada")}>\n"Turing, Alan" <${at("alan")}>, ${at("grace")}\n${at("grace")}\nnobody\nmara@hollis.example`);
    await page.getByLabel("Organization").selectOption("Hollis Research");
    await page.getByLabel("TestOps", { exact: false }).first().check();
    await page.getByLabel("Winter Season").check();
    await page.getByLabel("Project Role").selectOption("Viewer");
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByRole("heading", { name: "Add users: preview" }).waitFor();
    await row("ada").getByText("Will be invited").waitFor();
    await page.getByRole("row", { name: /nobody Not possible as written/ }).waitFor();
    await page.getByRole("row", { name: /mara@hollis.example Active already/ }).waitFor();
    assert.equal(await page.locator("tbody tr").count(), 5, "who is there twice is listed once");
    await seen("preview");
    assert.equal((await daemon.ask("GET", `/api/v1/users?search=${at("ada")}`)).total, 0);
  });

  await step("the list can be changed before it is sent, and each gets a result", async () => {
    await page.getByRole("button", { name: "Change the list" }).click();
    assert.match(await page.getByLabel("Addresses").inputValue(), /"Turing, Alan"/);
    assert.equal(await page.getByLabel("Project Role").inputValue(), "Viewer");
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByRole("button", { name: "Add 3 users" }).click();
    await page.getByRole("heading", { name: "Users added" }).waitFor();
    await page.getByText("3 of 5 people invited.").waitFor();
    await seen("users added");
    await daemon.mailed(at("alan"), /http\S+\/i\/[\w-]+/);
    await row("ada").getByRole("link").click();
    await page.getByRole("heading", { name: "Ada Lovelace", level: 1 }).waitFor();
    for (const words of ["Hollis Research", "TestOps", "Winter Season", "Viewer"]) await page.locator("main").getByText(words, { exact: true }).first().waitFor();
    await page.goto(`${directory}/new`);
    await page.getByLabel("Addresses").fill(at("ada"));
    await page.getByRole("button", { name: "Preview" }).click();
    await row("ada").getByText("Pending already").waitFor();
    assert.equal(await page.getByRole("button", { name: /^Add \d/ }).count(), 0, "there is nobody to add");
  });

  assert.deepEqual(wrong, []);
  await context.close();
}
