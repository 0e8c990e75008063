// An admin adds people, edits, releases and erases them, finds them by what they are assigned to, and changes between
// accounts. Light and dark, wide and narrow, with and without JavaScript.
//
//   node tests/console/people.mjs [--binary target/debug/usherd] [--pictures FOLDER]
import assert from "node:assert/strict";
import { ADMIN, there } from "./daemon.mjs";
import { WALKS, acceptAsAdmin, check, daemon, picture, run, tally, visit } from "./walk.mjs";

await run(async () => {
  for (const name of ["Hollis Research", "Hollis Theatre"]) await daemon.ask("POST", "/scim/v2/Organizations", { displayName: name });
  for (const name of ["Winter Season", "Box Office"]) await daemon.ask("POST", "/scim/v2/Projects", { displayName: name });
  const session = await acceptAsAdmin();
  for (const walk of WALKS) await people(walk, session);
  await heavy(session);
  await chooser();
});

async function people(walk, session) {
  const { page, step, seen, finish } = await visit(walk, session);
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
    await there(page.locator("tbody tr"), 5, "who is there twice is listed once");
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

  const dialog = (title) => (walk.script ? page.getByRole("dialog", { name: title }) : page.getByRole("region", { name: title }));
  const said = (words) => page.getByRole("status").filter({ hasText: words }).waitFor();
  const open = async (who) => {
    await page.goto(`${directory}?q=${encodeURIComponent(at(who))}`);
    await page.locator("tbody th a").first().click();
    await page.getByRole("heading", { level: 1 }).waitFor();
  };
  const menu = async (name) => {
    await page.locator("summary", { hasText: "More actions" }).click();
    await page.getByRole("link", { name, exact: true }).click();
  };

  await step("somebody whom no provider manages has a profile that admins edit", async () => {
    await open("grace");
    await page.getByRole("link", { name: "Edit profile" }).click();
    const asked = dialog("Edit Profile");
    for (const [label, value] of [["Given name", "Grace"], ["Family name", "Hopper"], ["Title", "Rear Admiral"], ["Department", "Compilers"], ["Work phone", "+1 555 0100"], ["Mobile phone", "+1 555 0101"]]) {
      await asked.getByLabel(label).fill(value);
    }
    await seen("edit profile");
    await asked.getByRole("button", { name: "Save" }).click();
    await said("The profile of Grace Hopper is saved.");
    await page.getByRole("heading", { name: "Grace Hopper", level: 1 }).waitFor();
    for (const words of ["Rear Admiral", "Compilers", "+1 555 0100 (work)", "+1 555 0101 (mobile)"]) await page.getByRole("region", { name: "Contact details" }).getByText(words).waitFor();
    await seen("user detail");
  });

  await step("somebody is released from the provider, and then has a profile to edit", async () => {
    const mail = at("katherine");
    await daemon.ask("POST", "/scim/v2/Users", { userName: mail, displayName: "Katherine Johnson", emails: [{ value: mail, primary: true }] });
    await open("katherine");
    assert.equal(await page.getByRole("link", { name: "Edit profile" }).count(), 0);
    await menu("Release from the identity provider");
    await dialog("Release From the Identity Provider").waitFor();
    await seen("release");
    await page.getByRole("button", { name: "Release" }).click();
    await said("Katherine Johnson is released from the identity provider.");
    await page.getByRole("link", { name: "Edit profile" }).waitFor();
  });

  await step("somebody who is not Active is erased", async () => {
    await open("katherine");
    await menu("Erase");
    await dialog("Erase Personal Data").waitFor();
    await seen("erase");
    await page.getByRole("button", { name: "Erase for good" }).click();
    await said("The personal data is erased.");
    assert.equal((await daemon.ask("GET", `/api/v1/users?search=${at("katherine")}`)).total, 0);
  });

  await step("the directory is narrowed by what people have, and the address says how", async () => {
    await page.goto(directory);
    await page.locator("summary", { hasText: "Filters" }).click();
    await page.getByLabel("Organization", { exact: true }).selectOption("Hollis Research");
    await page.getByLabel("License", { exact: true }).selectOption("TestOps");
    await seen("filters");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByText("2 set").waitFor();
    await page.waitForURL(/organization=[0-9a-f-]{36}/);
    await there(page.locator("tbody tr"), 3 * (WALKS.indexOf(walk) + 1), "those whom the walks have added so far");
    await page.getByRole("searchbox").fill(at("ada"));
    await page.getByRole("searchbox").press("Enter");
    await page.getByText("2 set").waitFor();
    await there(page.locator("tbody tr"), 1);
    await page.getByLabel("Account role", { exact: true }).selectOption("Account Admin");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByText("Nobody here matches all of this.").waitFor();
    await seen("nobody matches");
    await page.getByRole("link", { name: "Clear all" }).click();
    await page.waitForURL(directory);
  });

  await step("an open session is listed and ended", async () => {
    const other = await signIn(ADMIN);
    await page.goto(directory);
    await page.locator("summary", { hasText: "You:" }).click();
    await page.getByRole("link", { name: "Your details" }).click();
    const sessions = page.getByRole("region", { name: "Console sessions" });
    await there(sessions.getByText("this one"), 1);
    await seen("sessions");
    await sessions.getByRole("listitem").filter({ hasNotText: "this one" }).getByRole("button", { name: /^End session/ }).last().click();
    await said("The session is ended.");
    await other.page.goto(directory);
    await other.page.waitForURL(/sign-in/); // the other browser has to sign in again
    await other.context.close();
  });

  await finish();
}

/** A browser of its own, signed in by a code. */
async function signIn(address, walk = WALKS[0]) {
  const { context, page } = await visit(walk);
  await page.goto(`${daemon.origin}/admin/sign-in?account=default`);
  const before = daemon.count(address);
  await page.getByLabel("Your e-mail address").fill(address);
  await page.getByRole("button", { name: "Send me a code" }).click();
  const [, first, second] = await daemon.mailed(address, /\b(\d{4}) (\d{4})\b/, before);
  await page.getByLabel("Code").fill(first + second);
  await page.getByRole("button", { name: "Sign in" }).click();
  return { context, page };
}

/** A hundred people on one page, of every status, within the bound of a page. */
async function heavy(session) {
  const emails = Array.from({ length: 100 }, (_, number) => `somebody.with.a.long.name.${number}@research.hollis.example`);
  const { results } = await daemon.ask("POST", "/api/v1/invitations", { emails, organization: "Hollis Theatre", licenses: ["TestOps", "KSE"] });
  assert(results.every(({ result }) => result === "invited"));
  for (const walk of [WALKS[0], WALKS[1]]) {
    const { page, finish } = await visit(walk, session);
    await page.goto(`${daemon.origin}/admin/default/users?size=100`);
    await there(page.locator("tbody tr"), 100);
    await check(page, "a hundred people");
    await picture(page, `a-hundred-${walk.name}`);
    await finish();
  }
  tally.steps += 1;
}

/** Somebody who administers two accounts chooses one after signing in, and changes to the other. */
async function chooser() {
  const made = daemon.cli("account", "create", "studio", "--name", "Hollis Studio", "--admin-email", ADMIN);
  const first = await visit(WALKS[0]);
  await first.page.goto(/(http\S+\/i\/\S+)/.exec(made)[1]);
  await first.page.getByLabel("Your e-mail address").fill(ADMIN);
  await first.page.getByLabel("Given name").fill("Mara");
  await first.page.getByLabel("Family name").fill("Hollis");
  await first.page.getByRole("button", { name: "Accept invitation" }).click();
  await first.page.getByRole("heading", { name: "Welcome" }).waitFor();
  await first.context.close();
  for (const walk of WALKS) {
    const { context, page } = await signIn(ADMIN, walk);
    await page.getByRole("heading", { name: "Choose an account" }).waitFor();
    await check(page, "the account chooser");
    await picture(page, `accounts-${walk.name}`);
    await page.getByRole("button", { name: "Go to Hollis Studio" }).click();
    await page.getByRole("heading", { name: "Organization", level: 1 }).waitFor();
    await page.waitForURL(/\/admin\/studio$/);
    await page.goto(`${daemon.origin}/admin/default/users`);
    await page.waitForURL(/sign-in/); // one account at a time
    await page.goto(`${daemon.origin}/admin/studio`);
    await page.locator("summary", { hasText: "You:" }).click();
    await page.getByRole("link", { name: "Switch account" }).click();
    await page.getByRole("button", { name: "Go to default" }).click();
    await page.waitForURL(/\/admin\/default$/);
    await context.close();
    tally.steps += 1;
  }
}
