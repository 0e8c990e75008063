// Quick look: signs in, seeds people and takes pictures of pages. node look.mjs BINARY OUT
import { chromium } from "playwright-core";
import { start, ADMIN } from "./daemon.mjs";
const [binary, out] = process.argv.slice(2);
const daemon = await start(binary);
const U = "urn:ietf:params:scim:schemas:extension:usherd:2.0:User";
const names = ["Ada Lovelace","Alan Turing","Grace Hopper","Katherine Johnson","Barbara Liskov","Tim Berners-Lee","Margaret Hamilton","Edsger Dijkstra","Radia Perlman","Leslie Lamport","Frances Allen","Donald Knuth","Adele Goldberg","Ken Thompson","Dennis Ritchie","Lynn Conway","Niklaus Wirth","Hedy Lamarr","John Backus","Mary Jackson","Annie Easley","Jean Bartik","Kathleen Booth","Karen Jones","Evelyn Berezin","Sophie Wilson","Shafi Goldwasser","Anita Borg"];
let n = 0;
for (const name of names) {
  const [g, ...f] = name.split(" ");
  const mail = `${name.toLowerCase().replace(/[^a-z]+/g, ".")}@hollis.example`;
  const active = n % 5 !== 3;
  await daemon.ask("POST", "/scim/v2/Users", { schemas: [], userName: mail, name: { givenName: g, familyName: f.join(" ") }, title: "Engineer", phoneNumbers: [{ value: "+44 20 7946 0000", type: "work" }], emails: [{ value: mail, primary: true, type: "work" }], active, [U]: { licenses: n % 2 ? [{ value: "TestOps" }] : [], employmentStartDate: "2026-01-05T00:00:00Z" } });
  n++;
}
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
page.on("console", (m) => console.log("console:", m.text()));
page.on("pageerror", (e) => console.log("error:", e.message));
await page.goto(daemon.adminLink);
await page.fill("#address", ADMIN);
for (const [i, v] of [["#given-name", "Mara"], ["#family-name", "Hollis"]]) if (await page.$(i)) await page.fill(i, v);
await page.click("text=Accept invitation");
await page.screenshot({ path: `${out}/accepted.png` });
await page.click("text=Go to the console");
await page.screenshot({ path: `${out}/organization.png` });
await page.click("text=User Management >> nth=0");
await page.hover("tbody tr >> nth=1");
await page.screenshot({ path: `${out}/users.png` });
await page.click("text=Ada Lovelace");
await page.screenshot({ path: `${out}/user.png`, fullPage: true });
await page.click("summary:has-text('More actions')");
await page.screenshot({ path: `${out}/menu.png` });
await page.click("text=Deactivate User");
await page.waitForTimeout(500);
await page.screenshot({ path: `${out}/deactivate.png` });
await page.keyboard.press("Escape");
await page.click("text=Change Role & Permission");
await page.waitForTimeout(500);
await page.screenshot({ path: `${out}/role.png` });
const url = page.url();
for (const scheme of ["light", "dark"]) for (const width of [375, 1280]) {
  const c = await browser.newContext({ viewport: { width, height: 800 }, colorScheme: scheme, storageState: await context.storageState(), javaScriptEnabled: false });
  const p = await c.newPage();
  for (const [name, path] of [["users", "/admin/default/users"], ["user", url], ["deactivate", url + "/deactivate"], ["role", url + "/role"], ["sign-in", "/admin/sign-in"]]) {
    await p.goto(path.startsWith("http") ? path : daemon.origin + path);
    await p.screenshot({ path: `${out}/${name}-${scheme}-${width}.png`, fullPage: width === 375 && name !== "users" });
  }
}
await browser.close();
await daemon.stop();
