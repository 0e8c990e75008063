// A usherd of this run's own, as a child process with a directory and ports to itself.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const ADMIN = "mara@hollis.example";

/** Below the range from which the system takes ports for connections, so that nobody takes it meanwhile. */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const free = await new Promise((done) => {
      server.once("error", () => done(false));
      server.listen(port, "127.0.0.1", () => done(true));
    });
    if (!free) continue;
    await new Promise((done) => server.close(done));
    return port;
  }
}

/** Asks until `ask` answers with something true, for a minute at the most. */
export async function eventually(what, ask) {
  const end = Date.now() + 60_000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** Waits until so many are there: a page may be at hand before all of it is. */
export async function there(locator, number, what = `${number} of ${locator}`) {
  await eventually(what, async () => (await locator.count()) === number);
}

export async function start(binary, overrides = {}) {
  const directory = mkdtempSync(join(tmpdir(), "usherd-console-"));
  const [port, opsPort] = [await freePort(), await freePort()];
  const env = {
    USHERD_HTTP__LISTEN: `127.0.0.1:${port}`,
    USHERD_OPS__LISTEN: `127.0.0.1:${opsPort}`,
    USHERD_STORE__PATH: join(directory, "data"),
    USHERD_BOOTSTRAP__ADMIN_EMAIL: ADMIN,
    USHERD_LIMITS__SIGN_IN: "off",
    USHERD_LIMITS__IP: "off",
    ...overrides,
  };
  const child = spawn(binary, [], { env, cwd: directory, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let log = "";
  child.stdout.on("data", (bytes) => (out += bytes));
  child.stderr.on("data", (bytes) => (log += bytes));
  const origin = `http://127.0.0.1:${port}`;
  await eventually("the daemon says that it serves", () => log.includes("usherd serves") && out.includes("SCIM token"));

  const token = /SCIM token\s+(\S+)/.exec(out)[1];
  const adminLink = /(http\S+\/i\/\S+)/.exec(out)[1];

  const mails = () => {
    const folder = join(directory, "data", "mail");
    try {
      return readdirSync(folder).filter((name) => name.endsWith(".eml")).sort().map((name) => readFileSync(join(folder, name), "utf8"));
    } catch {
      return [];
    }
  };

  return {
    origin,
    token,
    adminLink,
    log: () => log,
    /** The command line beside the running daemon: what it prints. */
    cli: (...args) => execFileSync(binary, args, { env, cwd: directory, encoding: "utf8" }),
    /** The newest mail to `address` whose text matches, and the match. */
    async mailed(address, pattern, after = 0) {
      return eventually(`a mail to ${address} with ${pattern}`, () => {
        const found = mails().filter((mail) => mail.includes(`To: `) && mail.includes(address));
        if (found.length <= after) return null;
        return pattern.exec(found.at(-1).replace(/=\r\n/g, ""));
      });
    },
    count: (address) => mails().filter((mail) => mail.includes(address)).length,
    async ask(method, path, body) {
      const headers = { authorization: `Bearer ${token}` };
      if (body) headers["content-type"] = path.startsWith("/scim") ? "application/scim+json" : "application/json";
      const reply = await fetch(origin + path, { method, headers, body: body && JSON.stringify(body) });
      const text = await reply.text();
      if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
      return text ? JSON.parse(text) : null;
    },
    async stop() {
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
