// An issuer of OpenID Connect for the walks: asks people who they are, and signs what they say.
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { createServer } from "node:http";

export const CLIENT = { id: "usherd", secret: "a secret of the walk" };

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function body(request) {
  return new Promise((done) => {
    let text = "";
    request.on("data", (bytes) => (text += bytes));
    request.on("end", () => done(new URLSearchParams(text)));
  });
}

export async function startIssuer() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const grants = new Map();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, issuer.url);
    const json = (status, value) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (url.pathname === "/.well-known/openid-configuration") {
      return json(200, {
        issuer: issuer.url,
        authorization_endpoint: `${issuer.url}/authorize`,
        token_endpoint: `${issuer.url}/token`,
        jwks_uri: `${issuer.url}/keys`,
      });
    }
    if (url.pathname === "/keys") return json(200, { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "w1", use: "sig" }] });
    if (url.pathname === "/authorize" && request.method === "GET") {
      const page = `<!doctype html><html lang="en"><title>Hollis ID</title><main><h1>Hollis ID</h1><form method="post" action="${url.pathname}${url.search.replaceAll("&", "&amp;")}">
        <label>Address <input name="email"></label><button name="answer" value="yes">Sign in</button><button name="answer" value="unverified">Sign in unverified</button><button name="answer" value="no">Cancel</button></form></main></html>`;
      return response.writeHead(200, { "content-type": "text/html" }).end(page);
    }
    if (url.pathname === "/authorize") {
      const form = await body(request);
      const back = new URL(url.searchParams.get("redirect_uri"));
      back.searchParams.set("state", url.searchParams.get("state"));
      if (form.get("answer") === "no") {
        back.searchParams.set("error", "access_denied");
      } else {
        const code = randomUUID();
        grants.set(code, { asked: url.searchParams, email: form.get("email"), verified: form.get("answer") === "yes" });
        back.searchParams.set("code", code);
      }
      return response.writeHead(302, { location: back.href }).end();
    }
    if (url.pathname === "/token") {
      const form = await body(request);
      const grant = grants.get(form.get("code"));
      grants.delete(form.get("code"));
      const basic = Buffer.from(`${CLIENT.id}:${encodeURIComponent(CLIENT.secret).replaceAll("%20", "+")}`).toString("base64");
      const challenge = createHash("sha256").update(form.get("code_verifier")).digest("base64url");
      if (request.headers.authorization !== `Basic ${basic}`) return json(401, { error: "invalid_client" });
      if (!grant || challenge !== grant.asked.get("code_challenge")) return json(400, { error: "invalid_grant" });
      const now = Math.floor(Date.now() / 1000);
      const claims = {
        iss: issuer.url, aud: CLIENT.id, sub: grant.email, iat: now, exp: now + 300, auth_time: now,
        nonce: grant.asked.get("nonce"), email: grant.email, email_verified: grant.verified,
      };
      const signed = `${encode({ alg: "ES256", kid: "w1" })}.${encode(claims)}`;
      const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url");
      return json(200, { access_token: "none", token_type: "Bearer", id_token: `${signed}.${signature}` });
    }
    return json(404, {});
  });
  const issuer = { url: "", stop: () => new Promise((done) => { server.closeAllConnections(); server.close(done); }) };
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  issuer.url = `http://127.0.0.1:${server.address().port}`;
  return issuer;
}
