// oidc-provider, set up: who its clients are, how long its tokens last, and a list of rows that only a token opens.
// Every token that is given, refused, revoked or used is a line of JSON on standard output; auth.py counts them.
//
//     node launch.mjs FOLDER PORT REDIRECT_URI PUBLIC_KEY ACCESS_SECONDS
//
// FOLDER is where the package is installed.

import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, port, redirectUri, publicKey, seconds] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(folder, 'package.json')));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
const lasts = Number(seconds);
const jwk = { ...createPublicKey(readFileSync(publicKey)).export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'k1' };

const device = 'urn:ietf:params:oauth:grant-type:device_code';
const client = (id, method, grants, more = {}) => ({
  client_id: id,
  token_endpoint_auth_method: method,
  grant_types: grants,
  response_types: [],
  redirect_uris: [],
  // long, and with what a form and a header must encode
  ...(method.startsWith('client_secret') && { client_secret: `${id}-s3cret with: + % & / 0123456789abcdef` }),
  ...(method === 'private_key_jwt' && { jwks: { keys: [jwk] }, token_endpoint_auth_signing_alg: 'RS256' }),
  ...more,
});
const person = { response_types: ['code'], redirect_uris: [redirectUri] };
const code = ['authorization_code', 'refresh_token'];
// a desktop application: any port of its loopback address will do (RFC 8252, 7.3)
const native = { ...person, application_type: 'native', redirect_uris: ['http://127.0.0.1/callback'] };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    client('web', 'client_secret_basic', code, person),
    client('webpost', 'client_secret_post', code, person),
    client('webjwt', 'private_key_jwt', code, person),
    client('native', 'none', code, native),
    client('machine', 'client_secret_basic', ['client_credentials']),
    client('machinepost', 'client_secret_post', ['client_credentials']),
    client('machinejwt', 'private_key_jwt', ['client_credentials']),
    client('tv', 'none', [device, 'refresh_token']),
    client('tvbasic', 'client_secret_basic', [device, 'refresh_token']),
    client('tvjwt', 'private_key_jwt', [device, 'refresh_token']),
  ],
  scopes: ['openid', 'offline_access', 'api:read'],
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  ttl: {
    AccessToken: lasts, ClientCredentials: lasts, RefreshToken: 3600, AuthorizationCode: 60, DeviceCode: 60, IdToken: 60,
    Grant: 3600, Session: 3600, Interaction: 600,
  },
  rotateRefreshToken: true,
  issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
  pkce: { required: () => true },
  cookies: { keys: ['only-for-this-test'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});

const told = (event, facts) => console.log(JSON.stringify({ at: Date.now() / 1000, event, ...facts }));
const asked = ({ oidc }) => ({ client: oidc?.client?.clientId, grant: oidc?.params?.grant_type });
provider.on('grant.success', (ctx) => told('granted', asked(ctx)));
provider.on('grant.error', (ctx, error) => told('refused', { ...asked(ctx), error: error.error, detail: error.error_detail }));
provider.on('grant.revoked', (ctx) => told('revoked', asked(ctx)));
provider.on('device_authorization.success', (ctx) => told('device', asked(ctx)));
provider.on('device_authorization.error', (ctx, error) => told('refused', { ...asked(ctx), error: error.error }));
provider.on('authorization.error', (ctx, error) => told('refused', { ...asked(ctx), error: error.error }));
provider.on('server_error', (ctx, error) => console.error(error));

// GET /last?client=ID: the newest refresh token of a client, for who wants to revoke it
// GET /end?client=ID: its newest access token ends now (revoked at the endpoint, it would take all that was agreed to with it)
const last = {};
provider.on('access_token.saved', (token) => { last[token.clientId] = { ...last[token.clientId], access: token }; });
provider.on('refresh_token.saved', (token) => { last[token.clientId] = { ...last[token.clientId], refresh: token }; });
provider.use(async (ctx, next) => {
  if (ctx.path !== '/last' && ctx.path !== '/end') return next();
  const { access, refresh } = last[ctx.query.client];
  if (ctx.path === '/end') await access.destroy();
  ctx.body = { refresh: refresh.jti };
});

// GET /rows?page=N&pages=N&pause=MILLISECONDS: ten rows a page, to whoever has a token that is alive
provider.use(async (ctx, next) => {
  if (ctx.path !== '/rows') return next();
  const token = /^Bearer (.+)$/.exec(ctx.get('authorization'))?.[1] ?? '';
  const known = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
  const opens = known?.scopes.has('api:read') ?? false;
  // no token gets into a log
  const id = createHash('sha256').update(token).digest('hex').slice(0, 12);
  const [page, pages, pause] = ['page', 'pages', 'pause'].map((name) => Number(ctx.query[name] ?? 0));
  told(opens ? 'used' : 'turned away', { token: id, client: known?.clientId, page });
  if (!opens) {
    ctx.status = 401;
    ctx.set('www-authenticate', 'Bearer error="invalid_token"');
    ctx.body = { error: 'invalid_token' };
    return;
  }
  await new Promise((resolve) => setTimeout(resolve, pause));
  ctx.body = { pages, rows: Array.from({ length: 10 }, (_, at) => ({ id: page * 10 + at - 9, name: `row ${page * 10 + at - 9}` })) };
});

provider.listen(Number(port), '127.0.0.1');
