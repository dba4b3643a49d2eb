// A real issuer (oidc-provider) on loopback TLS: `node issuer.mjs FOLDER PORT AUDIENCE`. The folder holds `chain.pem`,
// `key.pem` and `issuer-keys.json`, the private keys that it signs with; started again with others, it has rotated.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { X509Certificate } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, port, audience] = process.argv.slice(2);
// The packages stand where they were installed, which is not here.
const require = createRequire(`${process.env.TOLLGATE_NODE}/package.json`);
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);
const read = (name) => readFileSync(`${folder}/${name}`);
const issuer = `https://127.0.0.1:${port}`;

const client = (client_id, more = {}) => ({
  client_id,
  client_secret: `${client_id}-secret-of-the-tests`,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: "client_secret_basic",
  ...more,
});

const provider = new Provider(issuer, {
  clients: [
    client("plain"),
    client("prover", { dpop_bound_access_tokens: true }),
    client("holder", { tls_client_certificate_bound_access_tokens: true }),
    client("gate"),
  ],
  jwks: JSON.parse(read("issuer-keys.json")),
  scopes: ["infer", "list"],
  clientDefaults: { id_token_signed_response_alg: "ES256" },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    dPoP: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => {
        const shown = ctx.req.socket.getPeerCertificate();
        return shown?.raw ? new X509Certificate(shown.raw) : undefined;
      },
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => ({
        scope: "infer list",
        audience,
        accessTokenTTL: 300,
        accessTokenFormat: resource.endsWith("/opaque") ? "opaque" : "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
  ttl: { ClientCredentials: 300 },
});
provider.on("server_error", (_ctx, error) => console.error(error));

const tls = { key: read("key.pem"), cert: read("chain.pem"), requestCert: true, rejectUnauthorized: false };
createServer(tls, provider.callback()).listen(Number(port), "127.0.0.1", () => console.log(`issuer listens: ${issuer}`));
