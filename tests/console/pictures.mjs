// The pictures of docs/images and the README: a theatre with thirty people, one identity provider and a mail server that
// takes most of what it gets. Each page has to pass what every walk checks before its picture is taken.
//
//   node tests/console/pictures.mjs --pictures docs/images [--binary target/debug/usherd]
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { eventually } from "./daemon.mjs";

const relay = await mailServer();
process.argv.push("--mail-url", `smtp://127.0.0.1:${relay.address().port}`);
const { WALKS, acceptAsAdmin, check, daemon, picture, run, tally, visit } = await import("./walk.mjs");

const SCHEMA = { user: "urn:ietf:params:scim:schemas:core:2.0:User", group: "urn:ietf:params:scim:schemas:core:2.0:Group", enterprise: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", usherd: "urn:ietf:params:scim:schemas:extension:usherd:2.0:User" };
const ORGANIZATIONS = { Stage: "Hollis Theatre", Sound: "Hollis Theatre", Press: "Hollis Theatre", House: "Front of House" };
// Name, department, title.
const COMPANY = [
  ["Amara Okafor", "Stage", "Stage Manager"], ["Bertil Lindqvist", "Sound", "Sound Designer"], ["Chiara Bellandi", "Stage", "Lighting Designer"],
  ["Dmitri Volkov", "Stage", "Carpenter"], ["Elif Yıldız", "Press", "Press Officer"], ["Farid Rahmani", "House", "House Manager"],
  ["Greta Sommer", "Stage", "Dramaturg"], ["Hiroshi Tanaka", "Sound", "Composer"], ["Ines Carvalho", "House", "Box Office"],
  ["Jonas Weber", "Stage", "Deputy Stage Manager"], ["Katarzyna Wiśniewska", "Press", "Photographer"], ["Lê Thị Hương", "House", "Usher"],
  ["Maximiliane Freifrau von Hohenlohe-Schillingsfürst", "Press", "Patronage"], ["Noor van Dijk", "Stage", "Costume Designer"],
  ["Oluwaseun Adeyemi", "Sound", "Sound Operator"], ["Priya Raghunathan", "House", "Accounts"], ["Quentin Delacroix", "Stage", "Props"],
];
// Lines of a list that was kept by hand, one with a mistake.
const LIST = `email,given name,family name,status,organization,projects
zoe.laurent@hollis.example,Zoé,Laurent,Active,Hollis Theatre,Winter Season:Tester
arthur.penn@hollis.example,Arthur,Penn,,Front of House,
bea.castellano@hollis.example,Bea,Castellano,Inactive,,
caspar.holm@hollis.example,Caspar,Holm,soon,,
dalia.mansour@hollis.example,Dalia,Mansour,,Hollis Theatre,Box Office:Viewer
`;
const INVITED = ["Rosa Delgado", "Sigrún Jónsdóttir", "Tomás Herrera", "Uma Thornton", "Viktor Novák"];
let token;
const console_ = (path) => `${daemon.origin}/admin/default${path}`;
const ascii = (text) => text.normalize("NFD").replaceAll("ı", "i").replace(/[^\w -]/g, "").toLowerCase();
const mailOf = (name) => `${ascii(name).replaceAll(" ", ".")}@hollis.example`;
// What the identity provider says of the company after a season: one is new, one has left, one has another title.
const EXPORT = [
  "userName,givenName,familyName,title,active",
  ...COMPANY.slice(0, 10).map(([name, , title], number) => {
    const [givenName, ...rest] = name.split(" ");
    return [mailOf(name), givenName, rest.join(" "), number === 2 ? "Head of Lighting" : title, number !== 8].join(",");
  }),
  "edda.brandt@hollis.example,Edda,Brandt,Prompter,true",
].join("\n");

await run(async () => {
  const session = await acceptAsAdmin();
  const people = await company();
  await invited();
  const refused = await mistakes(people);
  await leavers(people);

  const wide = await visit(WALKS[0], session);
  const dark = await visit({ ...WALKS[0], scheme: "dark" }, session);
  const narrow = await visit({ ...WALKS[0], width: 375 }, session);
  const { page } = wide;
  const take = async (page, name) => {
    await check(page, name);
    await picture(page, `console-${name}`);
    tally.steps += 1;
  };

  await eventually("the mails have met the server", async () => {
    await page.goto(console_("/outbox"));
    return (await page.getByText("4.7.1 Greylisted").count()) === 2;
  });
  await take(page, "outbox");
  await page.goto(console_(""));
  await page.getByRole("heading", { name: "Needs attention" }).waitFor();
  await take(page, "attention");
  for (const [name, path] of [["directory", "/users"], ["audit", "/audit"], ["settings", "/settings"], ["provisioning", "/provisioning"], ["user", `/users/${people[0]}`]]) {
    await page.goto(console_(path));
    await take(page, name);
  }
  await page.locator("summary", { hasText: "More actions" }).click();
  await page.getByRole("link", { name: "Deactivate User", exact: true }).click();
  await page.getByRole("dialog").waitFor();
  await take(page, "deactivate");

  await page.goto(console_("/users/new"));
  await page.getByLabel("Addresses").fill("Wren Abbott <wren.abbott@hollis.example>\nXiomara Ruiz <xiomara.ruiz@hollis.example>\nrosa.delgado@hollis.example\namara.okafor@hollis.example\nyusuf.demir@");
  await page.getByLabel("Organization").selectOption("Front of House");
  await page.getByRole("button", { name: "Preview" }).click();
  await page.getByRole("heading", { name: "Add users: preview" }).waitFor();
  await take(page, "add-users");

  await page.goto(console_("/users/import"));
  await page.getByLabel("Or paste its lines").fill(LIST);
  await page.getByRole("button", { name: "Preview" }).click();
  await page.getByText("4 of 5 lines can be imported.").waitFor();
  await take(page, "import");

  daemon.cli("webhook", "add-stream", "--account", "default", "--audience", "https://seats.hollis.example");
  daemon.cli("webhook", "add", "--account", "default", "https://rota.hollis.example/usherd");
  await page.goto(console_("/webhooks"));
  await take(page, "webhooks");

  await page.goto(console_("/provisioning"));
  await page.getByRole("link", { name: "Compare with an export" }).click();
  await page.getByLabel("Whose export it is").selectOption("okta");
  await page.getByLabel("Export", { exact: true }).setInputFiles({ name: "okta.csv", mimeType: "text/csv", buffer: Buffer.from(EXPORT) });
  await page.getByRole("button", { name: "Show the plan" }).click();
  await page.getByText("to create").first().waitFor();
  await take(page, "compare");

  await page.goto(console_("/provisioning/story?refused=yes"));
  await page.getByRole("link", { name: "POST /Users" }).first().waitFor();
  await take(page, "story");
  await page.goto(console_(`/provisioning/story?q=${refused}`));
  await page.getByRole("link", { name: "POST /Users" }).click();
  await page.getByRole("group", { name: "Why it was refused" }).waitFor();
  await take(page, "refused");

  await dark.page.goto(console_("/users"));
  await take(dark.page, "directory-dark");
  await narrow.page.goto(console_("/users"));
  await take(narrow.page, "directory-narrow");
  for (const visitor of [wide, dark, narrow]) await visitor.finish();
});
relay.close();

/** A request as the identity provider sends it. */
async function ask(token, method, path, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/scim+json" };
  const reply = await fetch(`${daemon.origin}/scim/v2${path}`, { method, headers, body: JSON.stringify(body) });
  return { status: reply.status, body: await reply.json().catch(() => null) };
}

/** What a person looks like to the identity provider. */
function person([name, department, title], number) {
  const [givenName, ...rest] = name.split(" ");
  const address = mailOf(name);
  return {
    schemas: [SCHEMA.user, SCHEMA.enterprise, SCHEMA.usherd], userName: address, externalId: `00u${number + 1}hollis`, displayName: name,
    name: { givenName, familyName: rest.join(" ") }, title, active: true,
    emails: [{ value: address, type: "work", primary: true }], phoneNumbers: [{ value: `+44 20 7946 0${String(100 + number)}`, type: "work" }],
    [SCHEMA.enterprise]: { department },
    [SCHEMA.usherd]: { organization: { value: ORGANIZATIONS[department] }, licenses: [{ value: "TestOps" }], projects: [{ value: "Winter Season", role: "Tester" }] },
  };
}

/** The company, as Okta provisions it: everybody is in already. The ids, in the order of the names. */
async function company() {
  for (const displayName of new Set(Object.values(ORGANIZATIONS))) await daemon.ask("POST", "/scim/v2/Organizations", { displayName });
  for (const displayName of ["Winter Season", "Box Office"]) await daemon.ask("POST", "/scim/v2/Projects", { displayName });
  const scopes = ["users", "groups", "resources", "roles:write"].flatMap((scope) => ["--scope", scope]);
  token = daemon.cli("token", "create", "--account", "default", "--name", "okta", "--profile", "okta", "--expires", "9d", ...scopes).trim();
  daemon.cli("account", "set", "default", "--name", "Hollis Theatre", "--admit", "silent");
  const ids = [];
  for (const [number, one] of COMPANY.entries()) {
    const made = await ask(token, "POST", "/Users", person(one, number));
    assert.equal(made.status, 201, JSON.stringify(made.body));
    ids.push(made.body.id);
  }
  const members = ids.slice(0, 6).map((value) => ({ value }));
  assert.equal((await ask(token, "POST", "/Groups", { schemas: [SCHEMA.group], displayName: "Night crew", members })).status, 201);
  daemon.cli("account", "set", "default", "--admit", "invite");
  return ids;
}

async function invited() {
  for (const displayName of INVITED) {
    await daemon.ask("POST", "/api/v1/users", { email: mailOf(displayName), displayName, organization: "Front of House" });
  }
}

/** Requests that were refused; the id of the one that the README shows. */
async function mistakes(ids) {
  const wrong = await ask(token, "POST", "/Users", { ...person(["Zofia Kowalczyk", "Stage", "Choreographer"], 40), active: "perhaps" });
  assert.equal(wrong.status, 400, JSON.stringify(wrong.body));
  assert.equal((await ask(token, "POST", "/Users", person(COMPANY[3], 3))).status, 409);
  assert.equal((await ask(token, "PATCH", `/Users/${ids[1]}`, { Operations: [{ op: "replace", path: "salary", value: 1 }] })).status, 400);
  return /\(request ([^)]+)\)$/.exec(wrong.body.detail)[1];
}

/** Two people lose access, and the brake stops the third. */
async function leavers(ids) {
  const leave = (id) => ask(token, "PATCH", `/Users/${id}`, { Operations: [{ op: "replace", path: "active", value: false }] });
  for (const [number, status] of [[3, 200], [16, 200], [6, 503]]) assert.equal((await leave(ids[number])).status, status);
}

/** Takes every mail but for some: later, or never. */
async function mailServer() {
  const answers = (line) => {
    if (/^RCPT TO:<(tomas|uma)/i.test(line)) return "451 4.7.1 Greylisted, please try again later";
    if (/^RCPT TO:<viktor/i.test(line)) return "550 5.1.1 No such user here";
    if (/^DATA/i.test(line)) return "354 Go on";
    return /^QUIT/i.test(line) ? "221 Bye" : "250 2.0.0 OK";
  };
  const server = createServer((socket) => {
    let [rest, inMail] = ["", false];
    socket.on("error", () => {});
    socket.write("220 mail.hollis.example ESMTP\r\n");
    socket.on("data", (bytes) => {
      const lines = (rest + bytes).split("\r\n");
      rest = lines.pop();
      for (const line of lines) {
        if (inMail && line !== ".") continue;
        socket.write(`${inMail ? "250 2.0.0 Queued" : answers(line)}\r\n`);
        inMail = !inMail && /^DATA/i.test(line);
      }
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  server.unref();
  return server;
}
