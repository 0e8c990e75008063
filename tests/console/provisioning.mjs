// An admin connects an identity provider: makes a token, sees its requests arrive, finds out why one was refused,
// rotates and revokes. Light and dark, wide and narrow, with and without JavaScript.
//
//   node tests/console/provisioning.mjs [--binary target/debug/usherd] [--pictures FOLDER]
import assert from "node:assert/strict";
import { ADMIN, eventually, there } from "./daemon.mjs";
import { WALKS, acceptAsAdmin, check, daemon, picture, run, visit } from "./walk.mjs";

const USER = "urn:ietf:params:scim:schemas:core:2.0:User";

await run(async () => {
  const session = await acceptAsAdmin();
  for (const walk of WALKS) await provisioning(walk, session);
});

/** A request as an identity provider sends it. */
async function ask(token, method, path, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/scim+json" };
  const reply = await fetch(`${daemon.origin}/scim/v2${path}`, { method, headers, body: body && JSON.stringify(body) });
  return { status: reply.status, body: await reply.json() };
}

async function provisioning(walk, session) {
  const { page, step, finish } = await visit(walk, session);
  const client = `okta-${walk.name}`;
  const dialog = (title) => (walk.script ? page.getByRole("dialog", { name: title }) : page.getByRole("region", { name: title }));
  const home = `${daemon.origin}/admin/default/provisioning`;
  const card = () => page.getByRole("region", { name: client, exact: true });
  let token;
  let testing;

  await step("Org > Provisioning shows the base URL of this installation", async () => {
    await page.goto(`${daemon.origin}/admin/default`);
    await page.getByRole("navigation", { name: "Org" }).getByRole("link", { name: "Provisioning" }).click();
    await page.getByRole("heading", { name: "Provisioning", level: 1 }).waitFor();
    assert.equal(await page.getByLabel("SCIM base URL").inputValue(), `${daemon.origin}/scim/v2`);
    await check(page, "provisioning");
    await picture(page, `provisioning-empty-${walk.name}`);
  });

  // Tokens are for whoever has proven within five minutes who they are, however long the walk took until then.
  const prove = async () => {
    const before = daemon.count(ADMIN);
    await page.goto(`${daemon.origin}/admin/default/prove?next=/admin/default/provisioning`);
    await page.getByRole("button", { name: "Send me a code" }).click();
    const [, first, second] = await daemon.mailed(ADMIN, /\b(\d{4}) (\d{4})\b/, before);
    await page.getByLabel("Code").fill(first + second);
    await page.getByRole("button", { name: "Confirm" }).click();
    await page.getByRole("heading", { name: "Provisioning", level: 1 }).waitFor();
  };
  await step("the admin proves who they are", prove);

  await step("a guide has this installation's own addresses and proposes the token", async () => {
    for (const provider of ["Microsoft Entra ID", "OneLogin", "JumpCloud", "Ping Identity", "SailPoint", "authentik", "Keycloak", "Any other client"]) {
      await page.goto(home);
      await page.getByRole("region", { name: "Connect an identity provider" }).getByRole("link", { name: provider }).click();
      await page.getByRole("heading", { name: `Connect ${provider}`, level: 1 }).waitFor();
      assert(!(await page.content()).includes("usherd.example"), provider);
    }
    await page.getByRole("link", { name: "Okta" }).click();
    await page.getByRole("heading", { name: "Connect Okta", level: 1 }).waitFor();
    assert((await page.locator(".guide").innerText()).includes(`Paste ${daemon.origin}/scim/v2 into Base URL`));
    await check(page, "the guide of Okta");
    await picture(page, `provisioning-guide-${walk.name}`);
    await page.getByRole("link", { name: "Add a token for it" }).click();
    await page.getByRole("heading", { name: "Add Token" }).waitFor();
    assert.equal(await page.getByLabel("Client", { exact: true }).inputValue(), "okta");
    assert.equal(await page.getByLabel("Profile").inputValue(), "okta");
    await check(page, "the page of a new token");
  });

  await step("a form without a client is shown again with what is wrong", async () => {
    await page.goto(home);
    await page.getByRole("link", { name: "Add token" }).click();
    const form = dialog("Add Token");
    await form.getByLabel("Client", { exact: true }).waitFor();
    await check(page, "the dialog of a new token");
    await picture(page, `provisioning-token-${walk.name}`);
    await form.getByRole("button", { name: "Make token" }).click();
    await page.getByRole("alert").filter({ hasText: "Type a name for the client" }).waitFor();
    await check(page, "a new token without a client");
  });

  await step("a token is made and shown once", async () => {
    await page.goto(home);
    await page.getByRole("link", { name: "Add token" }).click();
    const form = dialog("Add Token");
    await form.getByLabel("Client", { exact: true }).fill(client);
    await form.getByLabel("Profile").selectOption("okta");
    await form.getByRole("button", { name: "Make token" }).click();
    await page.getByRole("heading", { name: "Copy the Token" }).waitFor();
    await check(page, "the new token");
    token = await page.getByLabel("Token", { exact: true }).inputValue();
    assert.match(token, /^usp_/);
    await page.getByRole("link", { name: "Close" }).click();
    await card().getByText("Working").waitFor();
    assert(!(await page.content()).includes(token), "never shown again");
  });

  await step("the first request arrives while the connection is tested", async () => {
    await page.goto(home);
    await page.getByRole("link", { name: "Test connection" }).click();
    await page.getByText("Waiting for the first request").waitFor();
    await check(page, "waiting for a request");
    await picture(page, `provisioning-waiting-${walk.name}`);
    testing = await ask(token, "GET", `/Users?filter=${encodeURIComponent('userName eq "nobody"')}`);
    assert.equal(testing.status, 200);
    if (walk.script) {
      await page.getByText("A request has arrived.").waitFor();
    } else {
      await eventually("the request is on the page", async () => {
        await page.getByRole("link", { name: "Look again" }).click();
        return page.getByText("A request has arrived.").isVisible();
      });
    }
    await check(page, "a request that arrived");
    await picture(page, `provisioning-arrived-${walk.name}`);
  });

  const ada = `ada.${walk.name}@hollis.example`;
  await step("a real create is in the story, found by the address", async () => {
    const made = await ask(token, "POST", "/Users", {
      schemas: [USER], userName: ada, password: "correct horse battery staple", active: true, emails: [{ value: ada, primary: true }],
    });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    await page.goto(`${home}/story`);
    await eventually("the create is told", async () => {
      await page.getByRole("searchbox", { name: "Search" }).fill(ada.toUpperCase());
      await page.getByRole("button", { name: "Search" }).click();
      return page.getByRole("link", { name: "POST /Users" }).isVisible();
    });
    await check(page, "the story of a person");
    await page.getByRole("link", { name: "POST /Users" }).click();
    await page.getByText("Answered 201").waitFor();
    assert.match(await page.locator(".came").innerText(), /"password": "\(left out\)"/);
    await page.getByText("password-dropped").waitFor();
    await check(page, "the request that made a person");
    await picture(page, `provisioning-created-${walk.name}`);
  });

  await step("a refused create says why, and what to change", async () => {
    const refused = await ask(token, "POST", "/Users", { schemas: [USER], userName: `grace.${walk.name}`, active: "perhaps" });
    assert.equal(refused.status, 400);
    const [, requestId] = /\(request ([^)]+)\)$/.exec(refused.body.detail);
    await page.goto(`${home}/story`);
    await eventually("the refusal is told", async () => {
      await page.getByRole("searchbox", { name: "Search" }).fill(requestId);
      await page.getByLabel("Client", { exact: true }).selectOption(client);
      await page.getByLabel("Refused only").check();
      await page.getByRole("button", { name: "Search" }).click();
      return page.getByRole("link", { name: "POST /Users" }).isVisible();
    });
    await check(page, "the story of refused requests");
    await picture(page, `provisioning-story-${walk.name}`);
    await page.getByRole("link", { name: "POST /Users" }).click();
    await page.getByRole("group", { name: "Why it was refused" }).getByText("active").first().waitFor();
    await page.getByRole("region", { name: "In Okta" }).getByText("To App").waitFor();
    await check(page, "a refused request");
    await picture(page, `provisioning-refused-${walk.name}`);
    await page.goto(home);
    await card().getByRole("link", { name: "1 request" }).click();
    await page.getByRole("link", { name: "POST /Users" }).waitFor();
  });

  await step("what nobody asked for is said to be so", async () => {
    await page.goto(`${home}/story?q=nobody-asked-for-this`);
    await page.getByText("Nothing matches.").waitFor();
    await check(page, "an empty story");
    const gone = await page.goto(`${home}/story/00000000-0000-7000-8000-000000000000.0`);
    assert.equal(gone.status(), 404);
    assert.equal((await page.goto(`${home}/setup/nobody`)).status(), 404);
  });

  await step("a rotated token works beside the old one", async () => {
    await page.goto(home);
    await card().getByRole("link", { name: "Rotate" }).click();
    const form = dialog("Rotate Token");
    await form.getByLabel("The old token goes on for").selectOption("24");
    await check(page, "rotating a token");
    await form.getByRole("button", { name: "Rotate" }).click();
    await page.getByRole("heading", { name: "Copy the Token" }).waitFor();
    const second = await page.getByLabel("Token", { exact: true }).inputValue();
    assert.notEqual(second, token);
    for (const it of [token, second]) assert.equal((await ask(it, "GET", "/Users?count=0")).status, 200);
  });

  await step("a revoked token is worthless at once, and the story tells its client", async () => {
    await page.goto(home);
    await page.getByRole("list", { name: `Tokens of ${client}` }).waitFor();
    await check(page, "two tokens of a client");
    await picture(page, `provisioning-${walk.name}`);
    for (const left of [2, 1]) {
      await there(card().getByRole("link", { name: "Revoke" }), left);
      await card().getByRole("link", { name: "Revoke" }).first().click();
      const form = dialog("Revoke Token");
      await form.getByRole("button", { name: "Revoke" }).waitFor();
      await check(page, "revoking a token");
      await form.getByRole("button", { name: "Revoke" }).click();
      await page.getByRole("status").filter({ hasText: "is revoked" }).waitFor();
    }
    await there(card().getByRole("link", { name: "Revoke" }), 0);
    assert.equal((await ask(token, "POST", "/Users", { userName: `late.${walk.name}` })).status, 401);
    await eventually("the refusal is told", async () => {
      await page.goto(`${home}/story?q=late.${walk.name}`);
      return page.getByRole("link", { name: "POST /Users" }).isVisible();
    });
    await page.getByRole("link", { name: "POST /Users" }).click();
    await page.getByText("The token was revoked or has expired").waitFor();
    await check(page, "a request with a dead token");
  });

  const hris = `hris-${walk.name}`;
  const its = (name) => page.getByRole("region", { name: hris, exact: true }).getByRole("group", { name });
  const press = async (link, title, button) => {
    await link.click();
    const form = dialog(title);
    await form.getByRole("button", { name: button }).waitFor();
    await check(page, title);
    await form.getByRole("button", { name: button }).click();
  };
  const made = [];
  await step("what a client in test mode makes is held, seen, and admitted", async () => {
    await prove();
    await page.goto(home);
    await page.getByRole("link", { name: "Add token" }).click();
    const form = dialog("Add Token");
    await form.getByLabel("Client", { exact: true }).fill(hris);
    await form.getByLabel("mail nobody").check();
    await form.getByRole("button", { name: "Make token" }).click();
    token = await page.getByLabel("Token", { exact: true }).inputValue();
    for (const name of ["alan", "barbara", "claude", "dana"]) {
      const reply = await ask(token, "POST", "/Users", { userName: `${name}.${walk.name}@hris.example` });
      assert.equal(reply.status, 201);
      made.push(reply.body.id);
    }
    await page.goto(home);
    await its(`Held invitations of ${hris}`).getByText("4 invitations wait for you.").waitFor();
    await its(`Held invitations of ${hris}`).getByRole("link", { name: `alan.${walk.name}@hris.example` }).waitFor();
    await check(page, "held invitations");
    await picture(page, `provisioning-held-${walk.name}`);
    await press(its(`Held invitations of ${hris}`).getByRole("link", { name: "Admit" }), "Admit Without Invitation", "Admit");
    await page.getByRole("status").filter({ hasText: `4 people of ${hris}: decided` }).waitFor();
    assert.equal(await its(`Held invitations of ${hris}`).count(), 0);
    await page.getByRole("region", { name: hris, exact: true }).getByText("4 people").waitFor();
  });

  const leave = (id) => ask(token, "PATCH", `/Users/${id}`, { Operations: [{ op: "replace", path: "active", value: false }] });
  await step("the brake is seen, its deactivations are rejected, and then resumed", async () => {
    const leavers = await Promise.all(made.slice(0, 2).map(leave));
    assert.deepEqual(leavers.map((it) => it.status), [200, 200]);
    assert.equal((await leave(made[2])).status, 503);
    await page.goto(home);
    await its(`Brake of ${hris}`).getByText("The brake is on.").waitFor();
    await check(page, "a brake");
    await picture(page, `provisioning-brake-${walk.name}`);
    await press(its(`Brake of ${hris}`).getByRole("link", { name: "Reject the deactivations" }), "Reject the Deactivations", "Reject");
    await page.getByRole("status").filter({ hasText: "Nobody loses access" }).waitFor();
    assert.equal((await leave(made[2])).status, 503);
    await press(its(`Brake of ${hris}`).getByRole("link", { name: "Resume after the brake" }), "Resume After the Brake", "Resume");
    await its(`Brake of ${hris}`).getByText("The brake was resumed.").waitFor();
    assert.equal((await leave(made[2])).status, 200);
    await eventually("the refusals are told", async () => {
      await page.goto(`${home}/story?q=claude.${walk.name}&refused=yes`);
      return page.getByRole("link", { name: "PATCH /Users" }).nth(1).isVisible();
    });
    await page.getByRole("link", { name: "PATCH /Users" }).first().click();
    await page.getByRole("region", { name: "In Entra ID" }).getByText("resume here").waitFor();
  });

  await step("a paused client reads, and writes again once it is resumed", async () => {
    await page.goto(home);
    await press(page.getByRole("link", { name: `Pause ${hris}` }), "Pause Client", "Pause");
    await page.getByRole("region", { name: hris, exact: true }).getByText("Paused", { exact: true }).waitFor();
    await check(page, "a paused client");
    await picture(page, `provisioning-paused-${walk.name}`);
    assert.equal((await leave(made[3])).status, 503);
    assert.equal((await ask(token, "GET", `/Users/${made[3]}`)).status, 200);
    await press(page.getByRole("link", { name: `Resume ${hris}` }), "Resume Client", "Resume");
    assert.equal((await leave(made[3])).status, 200);
    assert.equal((await page.goto(`${home}/clients/nobody/pause`)).status(), 404);
  });

  await step("an export of the provider is compared, and what differs is made so", async () => {
    const name = `lin.${walk.name}@hollis.example`;
    await page.goto(home);
    await page.getByRole("link", { name: "Compare with an export" }).click();
    await page.getByRole("heading", { name: "Compare with an export", level: 1 }).waitFor();
    await check(page, "a comparison to begin");
    await picture(page, `compare-${walk.name}`);
    await page.getByLabel("Whose export it is").selectOption(hris);
    await page.getByRole("button", { name: "Show the plan" }).click();
    await page.getByRole("alert").getByRole("link", { name: "Choose a file" }).waitFor();
    await check(page, "a comparison with nothing");
    await page.getByLabel("Whose export it is").selectOption(hris);
    const lines = `userName,givenName,familyName,active\n${name},Lin,<b>Chi</b>,true\nnobody.${walk.name}@hollis.example,No,Body,false\n`;
    await page.getByLabel("Export", { exact: true }).setInputFiles({ name: "people.csv", mimeType: "text/csv", buffer: Buffer.from(lines) });
    await page.getByRole("button", { name: "Show the plan" }).click();
    await page.getByRole("row").filter({ hasText: name }).filter({ hasText: "Create" }).waitFor();
    await page.getByText("1 to create, 0 to change, 0 to deactivate, 1 unknown here").waitFor();
    await check(page, "a plan");
    await picture(page, `compare-plan-${walk.name}`);
    // Whoever signed in a while ago proves it first.
    const mail = page.getByRole("button", { name: "Mail me a code" });
    if (await mail.isVisible()) {
      const before = daemon.count(ADMIN);
      await mail.click();
      const [, first, second] = await daemon.mailed(ADMIN, /\b(\d{4}) (\d{4})\b/, before);
      await check(page, "a plan that waits for a code");
      await page.getByLabel("Code").fill(first + second);
    }
    await page.getByRole("button", { name: "Make it so" }).click();
    await page.getByRole("row").filter({ hasText: name }).filter({ hasText: "Created" }).waitFor();
    await page.getByText("1 created, 0 changed, 0 deactivated").waitFor();
    await check(page, "what was made so");
    await picture(page, `compare-done-${walk.name}`);
  });

  await finish();
}
