// jose.mjs - the library jose as issuer (serve) and as judge (judge) of tokens, for tests/wire/k02-jose.t.
import http from 'node:http';
import fs from 'node:fs';
import crypto from 'node:crypto';
import * as jose from 'jose';

if (process.argv[2] === 'judge') {
    const sample = JSON.parse(fs.readFileSync(0));
    const set = jose.createLocalJWKSet(sample.jwks);
    const options = {issuer: sample.issuer, audience: sample.audience, algorithms: ['RS256'], currentDate: new Date(sample.now * 1000)};
    const {payload, protectedHeader} = await jose.jwtVerify(sample.token, set, options);
    const thumb = sample.jwks.keys.find((k) => k.kid === protectedHeader.kid);
    console.log(JSON.stringify({payload, header: protectedHeader, known: thumb !== undefined}));
} else {
    const keys = [], documents = {};
    // Long to make, so all RSA algorithms have the same one.
    const rsa = crypto.generateKeyPairSync('rsa', {modulusLength: 2048, publicKeyEncoding: {type: 'spki', format: 'pem'},
        privateKeyEncoding: {type: 'pkcs8', format: 'pem'}});
    const keyPair = async (alg) => /^[RP]S/.test(alg) ? {publicKey: await jose.importSPKI(rsa.publicKey, alg, {extractable: true}),
        privateKey: await jose.importPKCS8(rsa.privateKey, alg)} : jose.generateKeyPair(alg);
    const server = http.createServer((request, response) => {
        const found = documents[request.url];
        response.writeHead(found ? 200 : 404, {'Content-Type': 'application/json'});
        response.end(JSON.stringify(found ?? {}));
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const issuer = `http://127.0.0.1:${server.address().port}`;
    const tokens = {};
    for (const alg of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']) {
        const {publicKey, privateKey} = await keyPair(alg);
        keys.push({...(await jose.exportJWK(publicKey)), kid: alg, alg, use: 'sig'});
        tokens[alg] = await new jose.SignJWT({repository_id: 74}).setProtectedHeader({alg, kid: alg, typ: 'JWT'})
            .setIssuer(issuer).setAudience(['other', 'becket']).setIssuedAt().setExpirationTime('5m').sign(privateKey);
    }
    {   // A key that does not say what it is for, as some publish them, is for all of its kind.
        const {publicKey, privateKey} = await keyPair('PS384');
        keys.push({...(await jose.exportJWK(publicKey)), kid: 'plain'});
        tokens.plain = await new jose.SignJWT({repository_id: 74}).setProtectedHeader({alg: 'PS384', kid: 'plain'})
            .setIssuer(issuer).setAudience('becket').setIssuedAt().setExpirationTime('5m').sign(privateKey);
    }
    tokens.HS256 = await new jose.SignJWT({repository_id: 74}).setProtectedHeader({alg: 'HS256', kid: 'RS256'})
        .setIssuer(issuer).setAudience('becket').setIssuedAt().setExpirationTime('5m')
        .sign(new TextEncoder().encode(keys[0].n));
    documents['/.well-known/openid-configuration'] = {issuer, jwks_uri: issuer + '/jwks'};
    documents['/jwks'] = {keys};
    console.log(JSON.stringify({issuer, tokens}));
}
