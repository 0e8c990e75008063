// Walks every step of the user-management guide in a real browser: light and dark, wide and narrow, with and without
// JavaScript.
//
//   node tests/console/guide.mjs [--binary target/debug/usherd] [--pictures FOLDER]
import assert from "node:assert/strict";
import { ADMIN, eventually, there } from "./daemon.mjs";
import { WALKS, acceptAsAdmin, browser, check, daemon, picture, run, tally, visit } from "./walk.mjs";

const USHERD = "urn:ietf:params:scim:schemas:extension:usherd:2.0:User";

await run(async () => {
  await seed();
  const session = await acceptAsAdmin();
  for (const walk of WALKS) await guide(walk, session);
  await signInByCode();
  await refusals(session);
  await keyboardOnly(session);
  await things(session);
});

async function seed() {
  for (const name of ["Hollis Research", "Hollis Theatre"]) await daemon.ask("POST", "/scim/v2/Organizations", { displayName: name });
  for (const name of ["Winter Season", "Box Office"]) await daemon.ask("POST", "/scim/v2/Projects", { displayName: name });
  const names = ["Ada Lovelace", "Alan Turing", "Grace Hopper", "Katherine Johnson", "Barbara Liskov", "Tim Berners-Lee",
    "Margaret Hamilton", "Edsger Dijkstra", "Radia Perlman", "Leslie Lamport", "Frances Allen", "Donald Knuth", "Adele Goldberg",
    "Ken Thompson", "Dennis Ritchie", "Lynn Conway", "Niklaus Wirth", "Hedy Lamarr", "John Backus", "Mary Jackson", "Annie Easley",
    "Jean Bartik", "Kathleen Booth", "Evelyn Berezin", "Sophie Wilson", "Shafi Goldwasser", "Anita Borg"];
  for (const [number, name] of names.entries()) await person(name, { active: number % 5 !== 3 });
  // One for each walk, whom it changes.
  for (const walk of WALKS) {
    await invited(`Walker ${walk.name}`);
    await person(`Leaver ${walk.name}`, {});
  }
}

/** Somebody whom the identity provider makes. */
async function person(name, { active = true }) {
  const [givenName, ...rest] = name.split(" ");
  const mail = `${name.toLowerCase().replace(/[^a-z]+/g, ".")}@hollis.example`;
  return daemon.ask("POST", "/scim/v2/Users", {
    userName: mail, name: { givenName, familyName: rest.join(" ") }, title: "Engineer", active,
    phoneNumbers: [{ value: "+44 20 7946 0000", type: "work" }],
    emails: [{ value: mail, primary: true, type: "work" }],
    [USHERD]: { employmentStartDate: "2026-01-05T00:00:00Z", licenses: [{ value: "TestOps" }], projects: [{ value: "Winter Season" }] },
  });
}

/** Somebody whom no provider manages. */
async function invited(name) {
  const email = `${name.toLowerCase().replace(/[^a-z]+/g, ".")}@hollis.example`;
  return daemon.ask("POST", "/api/v1/users", { email, displayName: name, projects: [{ project: "Winter Season" }] });
}

/** Focus goes back to what opened a dialog, once it is closed. */
async function focusOn(page, pattern) {
  await eventually(`focus on ${pattern}`, async () => pattern.test(await page.evaluate(() => document.activeElement.textContent)));
}

async function guide(walk, session) {
  const { page, step, finish } = await visit(walk, session);
  const name = `Walker ${walk.name}`;
  const leaver = `Leaver ${walk.name}`;
  const dialog = (title) => (walk.script ? page.getByRole("dialog", { name: title }) : page.getByRole("region", { name: title }));
  const said = (words) => page.getByRole("status").filter({ hasText: words }).waitFor();
  const openUser = async (who) => {
    await page.goto(`${daemon.origin}/admin/default/users?q=${encodeURIComponent(who.split("@")[0])}`);
    await page.getByRole("table", { name: "User Directory" }).getByRole("link", { name: who, exact: true }).click();
    await page.getByRole("heading", { name: who, level: 1 }).waitFor();
  };

  await step("the cog leads to Admin Settings > Organization > User Management", async () => {
    await page.goto(`${daemon.origin}/admin`);
    await page.locator("summary", { hasText: "Admin Settings" }).click();
    await check(page, "the open menu");
    await page.getByRole("navigation", { name: "Admin Settings" }).getByRole("link", { name: "Organization" }).click();
    await page.getByRole("navigation", { name: "Org" }).getByRole("link", { name: "User Management" }).click();
    await page.getByRole("table", { name: "User Directory" }).waitFor();
    await check(page, "the directory");
    await picture(page, `directory-${walk.name}`);
  });

  await step("tabs, search, order and pages have addresses of their own", async () => {
    await page.getByRole("link", { name: /^Inactive \d/ }).click();
    await page.waitForURL(/status=inactive/);
    await check(page, "inactive users");
    await page.getByRole("link", { name: /^All \d/ }).click();
    await page.getByRole("link", { name: "Next" }).click();
    await page.waitForURL(/page=2/);
    if (walk.width > 960) {
      await page.getByRole("link", { name: /^Added/ }).click();
      await page.locator("th[aria-sort=ascending]", { hasText: "Added" }).waitFor();
    }
    await page.getByRole("searchbox").fill("lovel ad");
    await page.getByRole("searchbox").press("Enter");
    await page.getByRole("link", { name: "Ada Lovelace" }).waitFor();
    await there(page.locator("tbody tr"), 1);
    await page.getByRole("searchbox").fill("nobody at all");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("Nobody here has a name").waitFor();
    await check(page, "an empty search");
  });

  await step("clicking a name opens User Detail", async () => {
    await openUser(leaver);
    for (const heading of ["Account Role", "Organization", "Licenses", "Joined projects", "Contact details"]) {
      await page.getByRole("heading", { name: heading, exact: true }).waitFor();
    }
    await page.getByText("5 Jan 2026").waitFor();
    await page.getByText("+44 20 7946 0000 (work)").waitFor();
    await check(page, "user detail");
    await picture(page, `user-${walk.name}`);
  });

  await step("Change Role & Permission, Update", async () => {
    await openUser(name);
    await page.getByRole("link", { name: "Change Role & Permission", exact: true }).click();
    const asked = dialog("Change Role and Permission");
    await asked.waitFor();
    await check(page, "the account role dialog");
    await picture(page, `role-${walk.name}`);
    await asked.getByLabel("Account Role").selectOption("System Admin");
    await asked.getByRole("button", { name: "Update" }).click();
    await said(`${name} is System Admin now.`);
    await page.getByText("System Admin", { exact: true }).first().waitFor();
  });

  await step("Change Role and Permission of a project, Update", async () => {
    await page.getByRole("link", { name: "Change Role and Permission in Winter Season" }).click();
    const asked = dialog("Change Role and Permission");
    await check(page, "the project role dialog");
    await asked.getByLabel("Project Role").selectOption("Viewer");
    await asked.getByRole("button", { name: "Update" }).click();
    await said(`${name} is Viewer in Winter Season now.`);
  });

  await step("a project is joined and left", async () => {
    await page.getByRole("link", { name: "Add to project" }).click();
    const asked = dialog("Add to Project");
    await check(page, "the add to project dialog");
    await asked.getByLabel("Project", { exact: true }).selectOption("Box Office");
    await asked.getByRole("button", { name: "Add" }).click();
    await said("has joined the project");
    await page.getByRole("link", { name: "Remove from Box Office" }).click();
    await dialog("Remove from Project").getByRole("button", { name: "Remove" }).click();
    await said("has left Box Office");
  });

  await step("Change under Organization, Save", async () => {
    await page.getByRole("link", { name: "Change organization", exact: true }).click();
    const asked = dialog("Change Organization");
    await check(page, "the organization dialog");
    await asked.getByLabel("Organization").selectOption("Hollis Theatre");
    await asked.getByRole("button", { name: "Save" }).click();
    await said("is changed");
    await page.getByText("Hollis Theatre").waitFor();
  });

  await step("Change under Licenses, Save", async () => {
    await page.getByRole("link", { name: "Change licenses", exact: true }).click();
    const asked = dialog("Change Licenses");
    await check(page, "the licenses dialog");
    await asked.getByLabel("KSE").check();
    await asked.getByRole("button", { name: "Save" }).click();
    await said("are changed");
    await page.getByRole("listitem").filter({ hasText: "KSE" }).waitFor();
  });

  await step("Resend invitation at the right end of the row", async () => {
    const address = `${name.toLowerCase().replace(/[^a-z]+/g, ".")}@hollis.example`;
    const before = daemon.count(address);
    await page.goto(`${daemon.origin}/admin/default/users?status=pending&q=${encodeURIComponent(name)}`);
    const row = page.getByRole("row").filter({ hasText: name });
    await row.hover();
    await row.getByRole("button", { name: /^Resend invitation/ }).click();
    await said("A new invitation is on its way");
    await page.waitForURL(/users\?status=pending/); // back to the same view
    await daemon.mailed(address, /http\S+\/i\//, before);
  });

  await step("a second resend at once is refused with a sentence", async () => {
    const row = page.getByRole("row").filter({ hasText: name });
    await row.hover();
    await row.getByRole("button", { name: /^Resend invitation/ }).click();
    await page.getByRole("alert").filter({ hasText: "Too many invitations" }).waitFor();
    await check(page, "a refused resend");
  });

  await step("Copy invitation link", async () => {
    await page.goto(`${daemon.origin}/admin/default/users?q=${encodeURIComponent(name)}`);
    const row = page.getByRole("row").filter({ hasText: name });
    await row.hover();
    await row.getByRole("button", { name: /^Copy invitation link/ }).click();
    const asked = dialog("Copy Invitation Link");
    await check(page, "the link dialog");
    const link = await asked.getByLabel("Invitation link").inputValue();
    assert.ok(link.startsWith(`${daemon.origin}/i/usi_`), link);
    await asked.getByRole("link", { name: "Close" }).click();
    if (walk.script) {
      await asked.waitFor({ state: "detached" });
      await focusOn(page, /Copy invitation link/);
    }
  });

  await step("three-dot menu, Deactivate User, Deactivate", async () => {
    await openUser(leaver);
    await page.locator("summary", { hasText: "More actions" }).click();
    await check(page, "the three-dot menu");
    await page.getByRole("link", { name: "Deactivate User" }).click();
    const asked = dialog("Deactivate User From Account");
    await asked.waitFor();
    await check(page, "the deactivate dialog");
    await picture(page, `deactivate-${walk.name}`);
    if (walk.script) await focusOn(page, /^Cancel$/);
    await asked.getByRole("button", { name: "Deactivate" }).click();
    await said(`${leaver} is Inactive now.`);
    await page.goto(`${daemon.origin}/admin/default/users?status=inactive&q=${encodeURIComponent(leaver)}`);
    await page.getByRole("row").filter({ hasText: leaver }).getByText("Inactive", { exact: true }).waitFor();
  });

  await step("re-sending restores access", async () => {
    const row = page.getByRole("row").filter({ hasText: leaver });
    await row.hover();
    await row.getByRole("button", { name: /^Resend invitation/ }).click();
    await said("A new invitation is on its way");
    await page.goto(`${daemon.origin}/admin/default/users?q=${encodeURIComponent(leaver)}`);
    await page.getByText(/re-invited, expires in/).waitFor();
  });

  await step("Revoke invitation", async () => {
    await openUser(name);
    await page.locator("summary", { hasText: "More actions" }).click();
    await page.getByRole("link", { name: "Revoke invitation" }).click();
    await check(page, "the revoke dialog");
    await dialog("Revoke Invitation").getByRole("button", { name: "Revoke" }).click();
    await said("is revoked");
    await check(page, "after revoking");
  });

  await finish();
}

async function signInByCode() {
  const { context, page, finish } = await visit(WALKS[2]);
  await page.goto(`${daemon.origin}/admin/default/users`);
  await page.waitForURL(/\/admin\/sign-in\?account=default/);
  await check(page, "sign-in");
  await page.getByLabel("Your e-mail address").fill("not an address");
  await page.getByRole("button", { name: "Send me a code" }).click();
  await page.getByRole("alert").waitFor();
  await check(page, "sign-in with a mistake");

  const unknown = await askCode(page, "nobody@hollis.example");
  const before = daemon.count(ADMIN);
  const known = await askCode(page, ADMIN);
  assert.equal(known.replaceAll(ADMIN, "X"), unknown.replaceAll("nobody@hollis.example", "X"), "the same answer for unknown addresses");
  await check(page, "code");

  const [, first, second] = await daemon.mailed(ADMIN, /\b(\d{4}) (\d{4})\b/, before);
  const wrongCode = first === "0000" ? "1111 1111" : `0000 ${second}`;
  await page.getByLabel("Code").fill(wrongCode);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: "This code is not right" }).waitFor();
  await check(page, "a wrong code");
  await page.getByLabel("Code").fill(`${first} ${second}`);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Organization", level: 1 }).waitFor();
  const stored = await context.storageState();

  // A code works once, also from the page that is still open elsewhere.
  await page.locator("summary", { hasText: "You:" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/sign-in/);
  const replay = await browser.newContext({ storageState: stored });
  const again = await replay.newPage();
  await again.goto(`${daemon.origin}/admin/default`);
  assert.match(again.url(), /sign-in/, "a session that was signed out is over");
  await replay.close();
  await finish();
  tally.steps += 1;
}

async function askCode(page, address) {
  await page.goto(`${daemon.origin}/admin/sign-in`);
  await page.getByLabel("Your e-mail address").fill(address);
  await page.getByRole("button", { name: "Send me a code" }).click();
  await page.getByLabel("Code").waitFor();
  return page.locator("main").innerText();
}

/** Guards: the last Account Admin, oneself; a form without its token; a person without the role. */
async function refusals(session) {
  const { context, page } = await visit(WALKS[0], session);
  const self = await page.goto(`${daemon.origin}/admin/default/users?q=mara`).then(() => page.getByRole("link", { name: "Mara Hollis" }).getAttribute("href"));
  await page.goto(`${daemon.origin}${self}/deactivate`);
  await page.getByRole("button", { name: "Deactivate" }).click();
  await page.getByRole("alert").filter({ hasText: "You cannot do this to yourself" }).waitFor();
  await check(page, "deactivating oneself");
  await page.goto(`${daemon.origin}${self}/role`);
  await page.getByLabel("Account Role").selectOption("User");
  await page.getByRole("button", { name: "Update" }).click();
  await page.getByRole("alert").filter({ hasText: "last active Account Admin" }).waitFor();
  await check(page, "demoting the last admin");

  const cookie = session.cookies.map((it) => `${it.name}=${it.value}`).join("; ");
  const post = (headers, body) => fetch(`${daemon.origin}${self}/deactivate`, { method: "POST", redirect: "manual", headers: { cookie, "content-type": "application/x-www-form-urlencoded", ...headers }, body });
  assert.equal((await post({}, "")).status, 403, "a form without its token");
  await page.goto(`${daemon.origin}${self}/deactivate`);
  const csrf = await page.locator(".dialog-page input[name=csrf]").inputValue();
  const genuine = new URLSearchParams({ csrf }).toString();
  assert.equal((await post({ "sec-fetch-site": "cross-site" }, genuine)).status, 403, "a form of another site");
  assert.equal((await post({ origin: "https://elsewhere.example" }, genuine)).status, 403, "a form of another origin");
  assert.equal((await post({}, genuine)).status, 409, "the genuine form is refused by G2 alone");

  // Somebody without the role is told which one is needed.
  const email = "plain.user@hollis.example";
  await daemon.ask("POST", "/api/v1/users", { email, displayName: "Plain User" });
  const [link] = await daemon.mailed(email, /http\S+\/i\/[\w-]+/);
  const theirs = await visit(WALKS[1]);
  await theirs.page.goto(link);
  await theirs.page.getByLabel("Your e-mail address").fill(email);
  for (const [label, value] of [["Given name", "Plain"], ["Family name", "User"]]) {
    const field = theirs.page.getByLabel(label);
    if (await field.count()) await field.fill(value);
  }
  await theirs.page.getByRole("button", { name: "Accept invitation" }).click();
  await theirs.page.getByRole("heading", { name: "Welcome" }).waitFor();
  assert.equal(await theirs.page.getByRole("link", { name: "Go to the console" }).count(), 0);
  const before = daemon.count(email);
  await askCode(theirs.page, email);
  const [, first, second] = await daemon.mailed(email, /\b(\d{4}) (\d{4})\b/, before);
  await theirs.page.getByLabel("Code").fill(first + second);
  await theirs.page.getByRole("button", { name: "Sign in" }).click();
  await theirs.page.getByRole("heading", { name: "You need the Account Admin role" }).waitFor();
  await check(theirs.page, "a person without the role");
  await theirs.context.close();
  await context.close();
  tally.steps += 1;
}

/** Tab, Enter and Space alone: find somebody, open a dialog, leave it, deactivate. */
async function keyboardOnly(session) {
  await invited("Key Board");
  const { page, finish } = await visit(WALKS[0], session);
  await page.goto(`${daemon.origin}/admin/default/users`);
  await page.keyboard.press("/");
  await page.keyboard.type("key board");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "Key Board" }).waitFor();
  const tabTo = async (pattern) => {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press("Tab");
      const [text, opacity] = await page.evaluate(() => [document.activeElement.textContent.trim(), getComputedStyle(document.activeElement.closest(".acts div") ?? document.body).opacity]);
      if (pattern.test(text)) return opacity;
    }
    throw new Error(`no Tab leads to ${pattern}`);
  };
  assert.equal(await tabTo(/^Resend invitation/), "1", "row actions are visible on focus");
  await page.goto(page.url());
  await tabTo(/^Key Board$/);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Key Board", level: 1 }).waitFor();
  await tabTo(/^More actions$/);
  await page.keyboard.press("Enter");
  await tabTo(/^Deactivate User$/);
  await page.keyboard.press("Enter");
  const asked = page.getByRole("dialog", { name: "Deactivate User From Account" });
  await asked.waitFor();
  await page.keyboard.press("Escape");
  await asked.waitFor({ state: "detached" });
  await focusOn(page, /More actions/);
  await page.keyboard.press("Enter");
  await tabTo(/^Deactivate User$/);
  await page.keyboard.press("Enter");
  await asked.waitFor();
  await tabTo(/^Deactivate$/);
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: "Key Board is Inactive now." }).waitFor();
  await finish();
  tally.steps += 1;
}

/** Organizations, projects and licenses are made, renamed and deleted; a name is there once. */
async function things(session) {
  const { page, finish } = await visit(WALKS[1], session);
  for (const [section, title, one] of [["organizations", "Organizations", "organization"], ["projects", "Projects", "project"], ["licenses", "Licenses", "license"]]) {
    await page.goto(`${daemon.origin}/admin/default/${section}`);
    await page.getByRole("heading", { name: title, level: 1 }).waitFor();
    await check(page, section);
    const edit = async (opener, name, button) => {
      await page.getByRole("link", { name: opener, exact: true }).click();
      const asked = page.getByRole("dialog");
      await asked.getByLabel("Name").fill(name);
      await check(page, `${section}: ${opener}`);
      await asked.getByRole("button", { name: button }).click();
    };
    await edit(`Add ${one}`, "Night Shift", "Add");
    await page.getByRole("status").filter({ hasText: "Night Shift is saved." }).waitFor();
    await edit(`Add ${one}`, "night shift", "Add");
    await page.getByRole("alert").filter({ hasText: `There is another ${one} of this name.` }).waitFor();
    await check(page, `${section}: a name twice`);
    await page.goto(`${daemon.origin}/admin/default/${section}`);
    await edit("Change Night Shift", "Day Shift", "Save");
    await page.getByRole("status").filter({ hasText: "Day Shift is saved." }).waitFor();
    await page.getByRole("link", { name: "Delete Day Shift" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByRole("status").filter({ hasText: "Day Shift is deleted." }).waitFor();
    assert.equal(await page.getByText("Day Shift", { exact: true }).count(), 0);
    tally.steps += 1;
  }
  await page.goto(`${daemon.origin}/admin/default/licenses`);
  await page.getByRole("link", { name: "Change TestOps", exact: true }).click();
  await page.getByRole("dialog").getByLabel("Seats").fill("500");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await page.getByText(/of 500 seats used/).waitFor();
  await picture(page, "licenses-narrow-dark");
  await finish();
}
