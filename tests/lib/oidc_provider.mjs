// A certified OpenID provider (npm oidc-provider) for tests/wire/l04-browser.t: one client, any login. Writes a line of
// JSON for its issuer, and one for each thing that happened; ends with its standard input.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const [redirect, client, secret, seconds] = process.argv.slice(2);
const say = (word, more) => process.stdout.write(JSON.stringify({ word, ...more }) + '\n');
const server = createServer();
server.listen(0, '127.0.0.1', () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    const provider = new Provider(issuer, {
        clients: [{
            client_id: client, client_secret: secret, redirect_uris: [redirect], response_types: ['code'],
            grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: 'client_secret_basic',
        }],
        pkce: { required: () => true },
        claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email'] },
        findAccount: (ctx, id) => ({
            accountId: id,
            claims: () => ({ sub: id, name: 'Ann <i>Example</i>', preferred_username: 'ann', email: 'ann@example.com' }),
        }),
        features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
        issueRefreshToken: async () => true,
        rotateRefreshToken: true,
        ttl: { AccessToken: Number(seconds), Grant: 3600, RefreshToken: 3600, Session: 3600, Interaction: 600, IdToken: 600 },
    });
    for (const event of ['authorization.success', 'grant.success', 'grant.revoked', 'grant.error', 'authorization.error',
        'revocation.error', 'server_error']) {
        provider.on(event, (ctx, error) => say(event, { grant: ctx?.oidc?.params?.grant_type, error: error?.message,
            detail: error?.error_description }));
    }
    provider.on('refresh_token.consumed', () => say('rotated'));
    provider.on('refresh_token.destroyed', () => say('destroyed'));
    server.on('request', provider.callback());
    say('issuer', { issuer });
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
