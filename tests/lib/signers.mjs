// The providers' own libraries, for tests/wire/p02-signers.t: `begin` writes requests as they sign them, keys, and
// GitHub's example payloads, all at once, for to load them takes a second; `verify` reads requests and writes what they
// say about them. JSON on stdin and stdout.
import { createRequire } from 'node:module';
import { createHmac, generateKeyPairSync, sign as cryptoSign } from 'node:crypto';

const require = createRequire(import.meta.url);
const octokit = await import('@octokit/webhooks-methods');
const Stripe = require('stripe');
const standard = require('standardwebhooks');
const svix = require('svix');
const twilio = require('twilio');
const bolt = require('@slack/bolt');
const line = require('@line/bot-sdk');
const discord = require('discord-interactions');
const { EventWebhook } = require('@sendgrid/eventwebhook');

const stripe = new Stripe('sk_test_x');
const now = Math.floor(Date.now() / 1000);
const json = { 'Content-Type': 'application/json' };
const whsec = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const bodies = ['{"type":"a.b","id":"evt_1","text":"grüße \\u00fc"}', '{\n  "type": "x"\r\n}\n', '{"type":"\u{1f600}"}'];

async function sign({ base }) {
  const out = [];
  const add = (type, secret, headers, body, extra = {}) =>
    out.push({ type, secret, headers, body: Buffer.from(body).toString('base64'), ...extra });
  for (const [i, body] of bodies.entries()) {
    add('github', 's3cret', { ...json, 'X-Hub-Signature-256': await octokit.sign('s3cret', body),
      'X-GitHub-Event': 'push', 'X-GitHub-Delivery': `gh-${i}` }, body);
    add('stripe', 'whsec_x', { ...json, 'Stripe-Signature':
      stripe.webhooks.generateTestHeaderString({ payload: body, secret: 'whsec_x', timestamp: now }) }, body);
    const at = new Date(now * 1000);
    add('standard-webhooks', whsec, { ...json, 'webhook-id': `sw-${i}`, 'webhook-timestamp': String(now),
      'webhook-signature': new standard.Webhook(whsec).sign(`sw-${i}`, at, body) }, body);
    add('svix', whsec, { ...json, 'svix-id': `sv-${i}`, 'svix-timestamp': String(now),
      'svix-signature': new svix.Webhook(whsec).sign(`sv-${i}`, at, body) }, body);
    add('slack', 'slack-s', { ...json, 'X-Slack-Request-Timestamp': String(now), 'X-Slack-Signature':
      'v0=' + createHmac('sha256', 'slack-s').update(`v0:${now}:${body}`).digest('hex') }, body);
    const hash = twilio.getExpectedBodyHash(body);
    const url = `${base}/hooks/twilio?a=1&bodySHA256=${hash}`;
    add('twilio', 'tw-token', { ...json, 'X-Twilio-Signature': twilio.getExpectedTwilioSignature('tw-token', url, {}) },
      body, { query: `?a=1&bodySHA256=${hash}` });
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const key = publicKey.export({ format: 'jwk' }).x;
    add('discord', Buffer.from(key, 'base64url').toString('hex'), { ...json, 'X-Signature-Timestamp': String(now),
      'X-Signature-Ed25519': cryptoSign(null, Buffer.from(now + body), privateKey).toString('hex') }, body,
      { verifies: await discord.verifyKey(body, cryptoSign(null, Buffer.from(now + body), privateKey).toString('hex'),
        String(now), Buffer.from(key, 'base64url').toString('hex')) });
  }
  const forms = [{ CallSid: 'CA1', From: '+14158675309', To: '+18005551212', Digits: '1234' },
    { b: '2', B: '1', a: 'ü & = +', Empty: '' }, { MediaUrl: ['z', 'a', 'a'], From: '1' }];
  for (const params of forms) {
    const form = new URLSearchParams(Object.entries(params).flatMap(([k, v]) => [v].flat().map((x) => [k, x])));
    for (const shown of [base, base.replace('http://127.0.0.1', 'http://127.0.0.1')]) {
      const url = `${shown}/hooks/twilio?a=1`;
      add('twilio', 'tw-token', { 'Content-Type': 'application/x-www-form-urlencoded',
        'X-Twilio-Signature': twilio.getExpectedTwilioSignature('tw-token', url, params) }, form.toString(),
        { query: '?a=1' });
    }
  }
  return out;
}

const header = (r, name) => Object.entries(r.headers).find(([k]) => k.toLowerCase() === name)?.[1];

async function verifyOne(r) {
  const body = Buffer.from(r.body, 'base64').toString();
  switch (r.type) {
    case 'github': return octokit.verify(r.secret, body, header(r, 'x-hub-signature-256'));
    case 'stripe': return !!stripe.webhooks.constructEvent(body, header(r, 'stripe-signature'), r.secret);
    case 'standard-webhooks': return !!new standard.Webhook(r.secret).verify(body, r.headers);
    case 'svix': return !!new svix.Webhook(r.secret).verify(body, r.headers);
    case 'slack':
      bolt.verifySlackRequest({ signingSecret: r.secret, body, headers: {
        'x-slack-signature': header(r, 'x-slack-signature'),
        'x-slack-request-timestamp': Number(header(r, 'x-slack-request-timestamp')) } });
      return true;
    case 'twilio':
      if (header(r, 'content-type').includes('form')) {
        const params = {};
        for (const [k, v] of new URLSearchParams(body)) params[k] = k in params ? [params[k], v].flat() : v;
        return twilio.validateRequest(r.secret, header(r, 'x-twilio-signature'), r.url, params);
      }
      return twilio.validateRequestWithBody(r.secret, header(r, 'x-twilio-signature'), r.url, body);
    case 'line': return line.validateSignature(body, r.secret, header(r, 'x-line-signature'));
    case 'discord': return discord.verifyKey(body, header(r, 'x-signature-ed25519'), header(r, 'x-signature-timestamp'),
      r.secret);
    case 'sendgrid': {
      const hook = new EventWebhook();
      return hook.verifySignature(hook.convertPublicKeyToECDSA(r.secret), body,
        header(r, 'x-twilio-email-event-webhook-signature'), header(r, 'x-twilio-email-event-webhook-timestamp'));
    }
    default: throw new Error(`no verifier for ${r.type}`);
  }
}

async function verify(requests) {
  return Promise.all(requests.map(async (r) => {
    try {
      return await verifyOne(r);
    } catch (e) {
      return String(e.message);
    }
  }));
}

// A private key for each provider that signs with one, and what its verifier wants of the public half.
function keys() {
  const ed = generateKeyPairSync('ed25519'), ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pem = { type: 'pkcs8', format: 'pem' };
  return { discord: { pem: ed.privateKey.export(pem),
    public: Buffer.from(ed.publicKey.export({ format: 'jwk' }).x, 'base64url').toString('hex') },
  sendgrid: { pem: ec.privateKey.export(pem), public: ec.publicKey.export({ type: 'spki', format: 'pem' }) } };
}

function examples() {
  const all = require('@octokit/webhooks-examples');
  return (all.default ?? all).flatMap(({ name, examples: list }) =>
    list.map((payload) => ({ event: name, body: JSON.stringify(payload) })));
}

let text = '';
for await (const chunk of process.stdin) text += chunk;
const input = text ? JSON.parse(text) : null;
const begin = async (given) => ({ signed: await sign(given), keys: keys(), examples: examples() });
const result = { begin, verify }[process.argv[2]](input);
process.stdout.write(JSON.stringify(await result));
