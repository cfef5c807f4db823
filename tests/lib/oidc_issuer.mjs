// oidc_issuer.mjs - npm oidc-provider as an issuer of signed access tokens, for tests/wire/k04-issuer.t. Commands come as lines:
// `keys ALG…` publishes a new key for each and forgets the others, `add ALG` publishes one more and signs with it. Answers with
// a line of JSON when that is in force; the issuer stays where it is.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
let serve, count = 0, keys = [];

async function make(alg) {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), kid: `key-${++count}`, alg, use: 'sig' };
}

function provider(issuer) {
    const alg = keys[0].alg;
    return new Provider(issuer, {
        jwks: { keys },
        clients: [{
            client_id: 'ci', client_secret: 'ci-secret', redirect_uris: [], response_types: [], grant_types: ['client_credentials'],
            token_endpoint_auth_method: 'client_secret_post', id_token_signed_response_alg: alg,
        }],
        features: {
            devInteractions: { enabled: false },
            clientCredentials: { enabled: true },
            resourceIndicators: {
                enabled: true,
                getResourceServerInfo: (ctx, resource) => ({
                    scope: '', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg } },
                }),
            },
        },
        extraTokenClaims: async () => ({ repository_id: 74 }),
    });
}

const server = createServer((request, response) => serve(request, response));
server.listen(0, '127.0.0.1', () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    createInterface({ input: process.stdin }).on('line', async (line) => {
        const [word, ...algs] = line.split(' ');
        const fresh = await Promise.all(algs.map(make));
        keys = word === 'add' ? [...fresh, ...keys] : fresh;
        serve = provider(issuer).callback();
        say({ issuer, kids: keys.map((k) => k.kid) });
    }).on('close', () => process.exit(0));
});
