// The remaining rooms of the console: settings, jobs, groups, what needs attention, the preview of a mail, and the audit
// as a file. Light and dark, wide and narrow, with and without JavaScript.
//
//   node tests/console/rooms.mjs --mail-url smtp://127.0.0.1:1 [--binary target/debug/usherd] [--pictures folder]
import assert from "node:assert/strict";
import { eventually, there } from "./daemon.mjs";
import { WALKS, acceptAsAdmin, check, daemon, picture, run, tally, visit } from "./walk.mjs";

const console_ = (path) => `${daemon.origin}/admin/default${path}`;
const SCIM = { group: "urn:ietf:params:scim:schemas:core:2.0:Group", user: "urn:ietf:params:scim:schemas:core:2.0:User" };

await run(async () => {
  const session = await acceptAsAdmin();
  await daemon.ask("POST", "/api/v1/users", { email: "guest@hollis.example", displayName: "=Guest" });
  const members = [];
  for (let number = 0; number < 51; number += 1) {
    const user = await daemon.ask("POST", "/scim/v2/Users", {
      schemas: [SCIM.user], userName: `crew.${number}@hollis.example`, displayName: `Crew ${number}`, active: true,
      emails: [{ value: `crew.${number}@hollis.example` }],
    });
    members.push({ value: user.id });
  }
  await daemon.ask("POST", "/scim/v2/Groups", { schemas: [SCIM.group], displayName: "Night crew", externalId: "g-1", members });
  await daemon.ask("POST", "/scim/v2/Projects", { displayName: "Winter Season" });
  // First what takes a fresh proof: no code can be mailed here, so the acceptance has to be one, which it is for five minutes.
  for (const walk of WALKS) {
    const { page, finish } = await visit(walk, session);
    await page.goto(console_(""));
    await webhooks(page, walk);
    await finish();
    tally.steps += 1;
  }
  for (const walk of WALKS) {
    const { page, finish } = await visit(walk, session);
    await settings(page, walk);
    await jobs(page, walk);
    await groups(page, walk);
    await mail(page, walk);
    await attention(page, walk);
    await audit(page, walk);
    await finish();
    tally.steps += 1;
  }
});

/** Through the navigation, as people go. */
async function go(page, name) {
  await page.getByRole("navigation", { name: "Org" }).getByRole("link", { name, exact: true }).click();
  await page.getByRole("heading", { name, level: 1 }).waitFor();
}

async function settings(page, walk) {
  await page.goto(console_(""));
  await go(page, "Settings");
  await page.getByText("follow the configuration (7d)").waitFor();
  await page.getByText(/^\d+\.\d+\.\d+$/).waitFor();
  await check(page, "settings");
  await picture(page, `settings-${walk.name}`);
  await page.getByLabel("Lifetime of a link").fill("soon");
  await page.getByLabel("Stop a client that deactivates many").selectOption("on");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("alert").getByRole("link", { name: /such as 7d, 36h/ }).waitFor();
  assert.equal(await page.getByLabel("Lifetime of a link").inputValue(), "soon", "what was typed is kept");
  await there(page.getByRole("alert").getByRole("link"), 3, "every wrong field is named");
  await check(page, "settings with problems");
  await picture(page, `settings-wrong-${walk.name}`);
  // Meanwhile somebody else saves the same page.
  const other = await page.context().newPage();
  await other.goto(console_("/settings"));
  await other.getByLabel("Lifetime of a link").fill(walk.width === 1280 ? "36h" : "48h");
  await other.getByLabel("Renewals at the most").fill(String(walk.width + walk.scheme.length).slice(0, 2));
  await other.getByRole("button", { name: "Save" }).click();
  await other.getByRole("status").filter({ hasText: "The settings are saved." }).waitFor();
  await other.close();
  await page.getByLabel("Lifetime of a link").fill("");
  await page.getByLabel("Stop a client that deactivates many").selectOption("");
  await page.getByLabel("Renewals at the most").fill("");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("changed this account since this page was shown").waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("status").filter({ hasText: "The settings are saved." }).waitFor();
  assert.equal(await page.getByLabel("Lifetime of a link").inputValue(), "", "it follows the configuration again");
}

async function jobs(page, walk) {
  await go(page, "Jobs");
  await check(page, "jobs");
  await picture(page, `jobs-${walk.name}`);
  const retention = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: "Retention" }) });
  await retention.getByRole("button", { name: /^Run now/ }).click();
  await page.getByRole("status").filter({ hasText: "The job runs now." }).waitFor();
  await eventually("the run has a result", async () => {
    await page.reload();
    return (await retention.getByText("Result").count()) > 0 && (await retention.getByText("runs now").count()) === 0;
  });
}

/** Of the group at hand: given, seen on the page of somebody in it, and taken away. */
async function projectRoles(page, walk) {
  const group = page.url();
  await page.getByText("Being in this group gives no role in a project").waitFor();
  await page.getByRole("link", { name: "Add project role" }).click();
  await page.getByRole("heading", { name: "Add Project Role" }).waitFor();
  await page.getByLabel("Project Role", { exact: true }).selectOption("Viewer");
  await check(page, "a new project role");
  await picture(page, `group-role-${walk.name}`);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("listitem").filter({ hasText: "Winter Season" }).getByText("Viewer", { exact: true }).waitFor();
  await check(page, "a group with a project role");
  await picture(page, `group-roles-${walk.name}`);
  await page.getByRole("link", { name: "Crew 7" }).first().click();
  const through = page.getByRole("listitem").filter({ hasText: "Winter Season" });
  await through.getByText("Viewer, through group").waitFor();
  await check(page, "a person with a role through a group");
  await picture(page, `through-group-${walk.name}`);
  await through.getByRole("link", { name: "Stage" }).click();
  await page.getByRole("link", { name: "Remove Viewer in Winter Season" }).click();
  await page.getByRole("heading", { name: "Remove Project Role" }).waitFor();
  await check(page, "removing a project role");
  await page.getByRole("button", { name: "Remove" }).click();
  await page.getByText("Being in this group gives no role in a project").waitFor();
  assert.equal(page.url().split("?")[0], group.split("?")[0]);
}

async function groups(page, walk) {
  await go(page, "Groups");
  await check(page, "groups");
  await picture(page, `groups-${walk.name}`);
  await page.getByLabel("Name begins with").fill("nobody");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("No group’s name begins so.").waitFor();
  await page.getByLabel("Name begins with").fill("night");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("51 members").waitFor();
  await page.getByRole("link", { name: "Night crew" }).click();
  await page.getByText("Page 1 of 2").waitFor();
  await check(page, "a group");
  await picture(page, `group-${walk.name}`);
  await page.getByRole("link", { name: "Next" }).click();
  await page.getByText("Page 2 of 2").waitFor();
  await go(page, "Groups");
  await page.getByRole("link", { name: "Add group" }).click();
  await page.getByLabel("Name", { exact: true }).fill("Stage");
  await check(page, "a new group");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("heading", { name: "Stage", level: 1 }).waitFor();
  for (const [name, said] of [["nobody@else.example", "There is no user or group"], ["Night crew", "Night crew is a member."], ["crew.7@hollis.example", "Crew 7 is a member."]]) {
    await page.getByRole("link", { name: "Add member" }).click();
    await page.getByLabel("Person or group").fill(name);
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await page.getByText(said).first().waitFor();
    if (name.startsWith("nobody")) {
      await check(page, "a member who is nobody");
      await page.getByRole("link", { name: "Cancel" }).click();
    }
  }
  await page.getByText("2 direct members").waitFor();
  await projectRoles(page, walk);
  await page.getByRole("link", { name: "Remove Crew 7" }).click();
  await check(page, "removing a member");
  await page.getByRole("button", { name: "Remove" }).click();
  await page.getByText("1 direct member.").waitFor();
  await page.getByRole("link", { name: "Rename" }).click();
  await page.getByLabel("Name", { exact: true }).fill("Back stage");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Back stage", level: 1 }).waitFor();
  await page.getByRole("link", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("status").filter({ hasText: "The group is deleted." }).waitFor();
}

async function mail(page, walk) {
  await go(page, "Outbox");
  const row = page.getByRole("row").nth(1);
  await row.hover();
  await row.getByRole("link", { name: /^Preview/ }).click();
  await page.getByRole("heading", { name: "Preview", level: 1 }).waitFor();
  const text = await page.getByRole("region", { name: "Text of the mail" }).innerText();
  assert(text.includes("/********"), text);
  assert(!(await page.content()).includes("usi_"), "no token is on the page");
  await check(page, "a preview");
  await picture(page, `preview-${walk.name}`);
}

async function webhooks(page, walk) {
  await go(page, "Webhooks");
  await check(page, "no webhooks");
  await page.getByRole("link", { name: "Add webhook" }).click();
  await page.getByLabel("Address").fill("http://app.hollis.example/");
  await check(page, "a new webhook");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByText("a webhook goes over https", { exact: false }).first().waitFor();
  await check(page, "a webhook that cannot be");
  await page.getByLabel("Address").fill("https://app.hollis.invalid/hooks");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  const secret = page.getByRole("textbox", { name: "Secret" });
  await secret.waitFor();
  assert.match(await secret.inputValue(), /^whsec_/);
  await check(page, "a secret");
  await page.goto(console_("/webhooks"));
  assert(!(await page.content()).includes("whsec_"), "it is shown once");
  // Not over SCIM: after the whole crew, the first sync hold would keep the invitation back.
  await daemon.ask("POST", "/api/v1/users", { email: `${walk.name}@hollis.example` });
  await eventually("the delivery waits", async () => {
    await page.reload();
    return (await page.getByText("the name has no address").count()) > 0;
  });
  await check(page, "webhooks");
  await picture(page, `webhooks-${walk.name}`);
  await page.getByRole("link", { name: /^Rotate secret/ }).click();
  await check(page, "rotating a secret");
  await page.getByRole("link", { name: "Cancel" }).click();
  await page.getByRole("link", { name: /^Remove/ }).click();
  await check(page, "removing a webhook");
  await page.getByRole("button", { name: "Remove" }).click();
  await page.getByRole("status").filter({ hasText: "The webhook is removed." }).waitFor();
  await streams(page, walk);
}

async function streams(page, walk) {
  await page.getByRole("link", { name: "Add stream" }).click();
  await page.getByLabel("It is told").selectOption("full");
  await page.getByLabel(/a bearer token/).check();
  await check(page, "a new stream");
  await picture(page, `stream-new-${walk.name}`);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByText("sends no bearer token", { exact: false }).first().waitFor();
  await check(page, "a stream that cannot be");
  await page.getByLabel(/a bearer token/).uncheck();
  await page.getByRole("button", { name: "Add", exact: true }).click();
  const address = page.getByRole("textbox", { name: "Address" });
  await address.waitFor();
  assert.match(await address.inputValue(), /\/api\/v1\/streams\/[0-9a-f-]+\/poll$/);
  await check(page, "what a receiver is to be given");
  await page.goto(console_("/webhooks"));
  await page.getByText("Fetched from this address").waitFor();
  await check(page, "a stream");
  await picture(page, `stream-${walk.name}`);
  await page.getByRole("link", { name: /^Remove/ }).click();
  await check(page, "removing a stream");
  await page.getByRole("button", { name: "Remove" }).click();
  await page.getByRole("status").filter({ hasText: "The webhook is removed." }).waitFor();
}

async function attention(page, walk) {
  const token = page.getByRole("heading", { name: "Needs attention" });
  await page.goto(console_("/provisioning"));
  const pause = page.getByRole("link", { name: /^Pause/ }).first();
  await pause.click();
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await page.getByRole("status").filter({ hasText: "is paused" }).waitFor();
  await page.goto(console_(""));
  await token.waitFor();
  await page.getByRole("link", { name: /is paused: nothing that it sends is written/ }).waitFor();
  await check(page, "what needs attention");
  await picture(page, `attention-${walk.name}`);
  await page.goto(console_("/provisioning"));
  await page.getByRole("link", { name: /^Resume/ }).first().click();
  await page.getByRole("button", { name: "Resume", exact: true }).click();
  await page.getByRole("status").filter({ hasText: "writes again" }).waitFor();
}

async function audit(page, walk) {
  await go(page, "Audit");
  await page.getByLabel("About").selectOption("account.");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText(/invitation_ttl as configured.*invitation_ttl (129600|172800) s/).first().waitFor();
  await page.getByText("Mara Hollis in the console").first().waitFor();
  await page.getByLabel("About").selectOption("");
  await page.getByLabel("Person or client").fill("guest@hollis.example");
  await page.getByRole("button", { name: "Show" }).click();
  await page.locator(".timeline li").filter({ hasText: "Invited" }).first().waitFor();
  assert.equal(await page.locator(".timeline li").filter({ hasText: "Crew" }).count(), 0);
  await check(page, "an audit of one person");
  await picture(page, `audit-of-one-${walk.name}`);
  const saved = async (form) => {
    const href = await page.getByRole("link", { name: form, exact: true }).getAttribute("href");
    const reply = await page.context().request.get(daemon.origin + href);
    assert.equal(reply.status(), 200);
    return reply.text();
  };
  const csv = await saved("CSV");
  assert.match(csv.split("\r\n")[0], /^at,event,channel,actor,user,name/);
  assert(csv.includes(",'=Guest,"), "a name is no formula");
  const lines = (await saved("JSON Lines")).trim().split("\n").map((line) => JSON.parse(line));
  assert(lines.some((event) => event.event === "user.invited" && /^\d{4}-\d\d-\d\dT/.test(event.at)));
  await page.getByLabel("Up to the day").fill("2020-01-01");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("Nothing to show.").waitFor();
}
