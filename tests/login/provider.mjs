// A certified OpenID provider (panva's oidc-provider) on a free port of this machine. Clients register themselves, and
// there is one fixed client. Its own pages ask for a name and for consent; any name is somebody of the group `tax`.
//
// node provider.mjs RESOURCE CALLBACK: access tokens are JWTs for RESOURCE, and the fixed client returns to CALLBACK.
// The first line of its output is its issuer.
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import { Provider } from "oidc-provider";

const [resource, callback] = process.argv.slice(2);
const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "gateway",
      client_secret: "a-secret-of-the-client",
      redirect_uris: [callback],
      grant_types: ["authorization_code", "refresh_token"],
    },
  ],
  jwks: { keys: [{ ...key, kid: "k", use: "sig", alg: "RS256" }] },
  claims: { openid: ["sub", "groups"], email: ["email"] },
  conformIdTokenClaims: false,
  scopes: ["openid", "email", "profile", "offline_access", "research"],
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, groups: ["tax"], email: `${id}@firm.example` }),
  }),
  extraTokenClaims: () => ({ groups: ["tax"] }),
  features: {
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "openid email profile research",
        audience: resource,
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  pkce: { required: () => true },
});
server.on("request", provider.callback());
console.log(issuer);
