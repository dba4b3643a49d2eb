// A client of npm `jose`: `node client.mjs` reads orders on stdin, one JSON object in a line, and answers each on stdout.
//   {"do":"key","alg":…}                          a private key, as JWK
//   {"do":"token","key":…,"header":…,"claims":…}  a token that jose signs
//   {"do":"proof","key":…,"url":…,"method":…,"token":…}  a proof of possession (RFC 9449)
//   {"do":"print","key":…}                        the thumbprint of a key
import { createHash, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.TOLLGATE_NODE}/package.json`);
const jose = await import(pathToFileURL(require.resolve("jose")).href);

const open = (key) => jose.importJWK(key, key.alg);
const shown = ({ kty, crv, x, y, n, e }) => JSON.parse(JSON.stringify({ kty, crv, x, y, n, e }));

const orders = {
  async key({ alg }) {
    const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
    return { ...(await jose.exportJWK(privateKey)), alg, use: "sig" };
  },
  async token({ key, header, claims }) {
    return new jose.SignJWT(claims).setProtectedHeader({ alg: key.alg, ...header }).sign(await open(key));
  },
  async proof({ key, url, method, token }) {
    const ath = token && createHash("sha256").update(token).digest("base64url");
    const claims = { htu: url, htm: method, jti: randomUUID(), iat: Math.floor(Date.now() / 1000), ...(ath && { ath }) };
    const header = { alg: key.alg, typ: "dpop+jwt", jwk: shown(key) };
    return new jose.SignJWT(claims).setProtectedHeader(header).sign(await open(key));
  },
  async print({ key }) {
    return jose.calculateJwkThumbprint(shown(key));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...order } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: await orders[name](order) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
