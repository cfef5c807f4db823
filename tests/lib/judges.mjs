// Verifiers of providers' own libraries, for tests/wire/p04-judges.t: `sign` writes requests as the libraries sign them, or as
// their documentation says where they only verify, `verify` writes what they say about requests. JSON on stdin and stdout.
import { createRequire } from 'node:module';
import { createHash, createHmac } from 'node:crypto';

const require = createRequire(import.meta.url);
const mac = (secret, text, encoding = 'hex', algorithm = 'sha256') =>
  createHmac(algorithm, secret).update(text).digest(encoding);
const json = { 'Content-Type': 'application/json' };
const hexKey = '44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056';
const seconds = () => Math.floor(Date.now() / 1000);
const header = (r, name) => Object.entries(r.headers).find(([k]) => k.toLowerCase() === name)?.[1];
const lower = (r) => Object.fromEntries(Object.entries(r.headers).map(([k, v]) => [k.toLowerCase(), v]));
const once = (load) => { let value; return () => (value ??= load()); };
// The secret's text is the key, which their documentation says in base64.
const standard = (secret) => new (require('standardwebhooks').Webhook)(Buffer.from(secret).toString('base64'));
const whsec = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
// With the headers of Standard Webhooks, or the same of Svix.
const branded = (name, body) => { const at = new Date(), id = mac('id', body).slice(0, 16); return { ...json, [`${name}-id`]: id,
  [`${name}-timestamp`]: String(Math.floor(at / 1000)),
  [`${name}-signature`]: new (require('standardwebhooks').Webhook)(whsec).sign(id, at, body) }; };
const adyen = once(() => new (require('@adyen/api-library/lib/src/utils/hmacValidator').default)());
const pusher = once(() => new (require('pusher'))({ appId: '1', key: 'key', secret: 'pusher-s', cluster: 'x' }));
const box = { 'BOX-SIGNATURE-VERSION': '1', 'BOX-SIGNATURE-ALGORITHM': 'HmacSHA256', 'BOX-DELIVERY-ID': 'd' };

// For each type: its secret, headers for a body, and whether its library takes a request.
const judges = {
  adyen: { secret: hexKey,
    sign: (body) => ({ ...json, HmacSignature: adyen().calculateHmac(body, hexKey) }),
    verify: (r, body) => adyen().validateHMACSignature(hexKey, header(r, 'hmacsignature'), body) },
  box: { secret: 'box-s',
    sign: (body) => {
      const at = new Date().toISOString();
      return { ...json, ...box, 'BOX-DELIVERY-TIMESTAMP': at, 'BOX-SIGNATURE-PRIMARY': mac('box-s', body + at, 'base64'),
        'BOX-SIGNATURE-SECONDARY': mac('another', body + at, 'base64') };
    },
    verify: (r, body) => require('box-node-sdk/managers/webhooks').WebhooksManager.validateMessage(body,
      { ...lower({ headers: box }), ...lower(r) }, 'box-s') },
  bigcommerce: { secret: 'bc-s',
    sign: (body) => { const at = new Date(), id = mac('id', body).slice(0, 16); return { ...json, 'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at / 1000)), 'webhook-signature': standard('bc-s').sign(id, at, body) }; },
    verify: (r, body) => { standard('bc-s').verify(body, lower(r)); return true; } },
  contentful: { secret: hexKey,
    sign: (body, url) => ({ ...json, 'X-Contentful-Topic': 'ContentManagement.Entry.publish',
      ...require('@contentful/node-apps-toolkit').signRequest(hexKey, { method: 'POST', path: new URL(url).pathname, body,
        headers: { ...json, 'X-Contentful-Topic': 'ContentManagement.Entry.publish' } }) }),
    verify: (r, body) => { const { pathname, search } = new URL(r.url);
      return require('@contentful/node-apps-toolkit').verifyRequest(hexKey, { method: 'POST', path: pathname + search,
        headers: r.headers, body }); } },
  cashfree: { secret: 'cf-s',
    sign: (body) => { const t = Date.now(); return { ...json, 'x-webhook-timestamp': String(t),
      'x-webhook-signature': mac('cf-s', t + body, 'base64') }; },
    verify: (r, body) => { const { Cashfree } = require('cashfree-pg'); new Cashfree(1, 'id', 'cf-s').PGVerifyWebhookSignature(
      header(r, 'x-webhook-signature'), body, header(r, 'x-webhook-timestamp')); return true; } },
  easypost: { secret: 'ep-s',
    sign: (body) => ({ ...json, 'X-Hmac-Signature': `hmac-sha256-hex=${mac('ep-s', body)}` }),
    verify: (r, body) => { const EasyPost = require('@easypost/api'); new (EasyPost.default ?? EasyPost)('key').Utils.validateWebhook(
      Buffer.from(body), lower(r), 'ep-s'); return true; } },
  gocardless: { secret: 'gc-s',
    sign: (body) => ({ ...json, 'Webhook-Signature': mac('gc-s', body) }),
    verify: (r, body) => { require('gocardless-nodejs/webhooks').verifySignature(body, 'gc-s', header(r, 'webhook-signature')); return true; } },
  hubspot: { secret: 'hs-s',
    sign: (body, url) => {
      const { Signature } = require('@hubspot/api-client'), timestamp = Date.now();
      return { ...json, 'X-HubSpot-Request-Timestamp': String(timestamp), 'X-HubSpot-Signature-v3':
        Signature.getSignature('POST', 'v3', { clientSecret: 'hs-s', requestBody: body, url, timestamp }) };
    },
    verify: (r, body) => require('@hubspot/api-client').Signature.isValid({ signatureVersion: 'v3', method: 'POST',
      signature: header(r, 'x-hubspot-signature-v3'), clientSecret: 'hs-s', requestBody: body, url: r.url,
      timestamp: Number(header(r, 'x-hubspot-request-timestamp')) }) },
  // Of whom a token is, becket send cannot know.
  livekit: { secret: 'livekit-s-livekit-s-livekit-s-32',
    sign: async (body) => { const token = new (require('livekit-server-sdk').AccessToken)('key', judges.livekit.secret, { ttl: '5m' });
      token.sha256 = createHash('sha256').update(body).digest('base64');
      return { 'Content-Type': 'application/webhook+json', Authorization: await token.toJwt() }; },
    verify: async (r, body) => !!await new (require('livekit-server-sdk').WebhookReceiver)(undefined, judges.livekit.secret)
      .receive(body, header(r, 'authorization')) },
  linear: { secret: 'lin-s', body: (body) => body.replace('{', `{"webhookTimestamp":${Date.now()},`),
    sign: (body) => ({ ...json, 'Linear-Event': 'Issue', 'Linear-Delivery': mac('id', body).slice(0, 16),
      'Linear-Signature': mac('lin-s', body) }),
    verify: (r, body) => new (require('@linear/sdk/webhooks').LinearWebhookClient)('lin-s').verify(Buffer.from(body),
      header(r, 'linear-signature')) },
  'modern-treasury': { secret: 'mt-s',
    sign: (body) => ({ ...json, 'X-Signature': mac('mt-s', body) }),
    verify: (r, body) => { const MT = require('modern-treasury'); return new (MT.default ?? MT)({ apiKey: 'k', organizationID: 'o' })
      .webhooks.validateSignature(body, header(r, 'x-signature'), { key: 'mt-s' }); } },
  mux: { secret: 'mux-s',
    sign: (body) => { const t = seconds(); return { ...json, 'Mux-Signature': `t=${t},v1=${mac('mux-s', `${t}.${body}`)}` }; },
    verify: async (r, body) => {
      const { Mux } = require('@mux/mux-node');
      await new Mux({ tokenId: 'x', tokenSecret: 'y' }).webhooks.verifySignature(body, lower(r), 'mux-s');
      return true;
    } },
  nango: { secret: 'nango-s',
    sign: (body) => ({ ...json, 'X-Nango-Hmac-Sha256': mac('nango-s', body) }),
    verify: (r, body) => new (require('@nangohq/node').Nango)({ secretKey: 'nango-s' }).verifyIncomingWebhookRequest(body, lower(r)) },
  notion: { secret: 'secret_notion',
    sign: async (body) => ({ ...json, 'X-Notion-Signature':
      await require('@notionhq/client').signWebhookPayload({ body, verificationToken: 'secret_notion' }) }),
    verify: (r, body) => require('@notionhq/client').verifyWebhookSignature({ body,
      signature: header(r, 'x-notion-signature'), verificationToken: 'secret_notion' }) },
  onfido: { secret: 'onfido-s',
    sign: (body) => ({ ...json, 'X-SHA2-Signature': mac('onfido-s', body) }),
    verify: (r, body) => { new (require('@onfido/api').WebhookEventVerifier)('onfido-s').readPayload(Buffer.from(body),
      header(r, 'x-sha2-signature')); return true; } },
  orb: { secret: 'orb-s',
    sign: (body) => { const at = new Date().toISOString().replace('Z', '000'); return { ...json, 'X-Orb-Timestamp': at,
      'X-Orb-Signature': `v1=${mac('orb-s', `v1:${at}:${body}`)}` }; },
    verify: (r, body) => { const Orb = require('orb-billing'); new (Orb.default ?? Orb)({ apiKey: 'x' }).webhooks.verifySignature(body,
      r.headers, 'orb-s'); return true; } },
  paddle: { secret: 'pdl-s',
    sign: (body) => { const t = seconds(); return { ...json, 'Paddle-Signature': `ts=${t};h1=${mac('pdl-s', `${t}:${body}`)}` }; },
    verify: (r, body) => new (require('@paddle/paddle-node-sdk').Paddle)('x').webhooks.isSignatureValid(body, 'pdl-s',
      header(r, 'paddle-signature')) },
  pusher: { secret: 'pusher-s',
    sign: (body) => ({ ...json, 'X-Pusher-Key': 'key', 'X-Pusher-Signature':
      new (require('pusher/lib/token'))('key', 'pusher-s').sign(body) }),
    verify: (r, body) => pusher().webhook({ headers: { ...lower(r), 'x-pusher-key': 'key' }, rawBody: body }).isValid() },
  razorpay: { secret: 'rzp-s',
    sign: (body) => ({ ...json, 'X-Razorpay-Signature': mac('rzp-s', body), 'x-razorpay-event-id': mac('id', body) }),
    verify: (r, body) => require('razorpay').validateWebhookSignature(body, header(r, 'x-razorpay-signature'), 'rzp-s') },
  replicate: { secret: whsec,
    sign: (body) => branded('webhook', body),
    verify: (r, body) => { const h = lower(r); return require('replicate').validateWebhook({ id: h['webhook-id'], body, secret: whsec,
      timestamp: h['webhook-timestamp'], signature: h['webhook-signature'] }); } },
  resend: { secret: whsec,
    sign: (body) => branded('svix', body),
    verify: (r, body) => { const h = lower(r); return !!new (require('resend').Resend)('re_x').webhooks.verify({ payload: body,
      headers: { id: h['svix-id'], timestamp: h['svix-timestamp'], signature: h['svix-signature'] }, webhookSecret: whsec }); } },
  retell: { secret: 'key_retell',
    sign: async (body) => ({ ...json, 'x-retell-signature': await require('retell-sdk').sign(body, 'key_retell') }),
    verify: (r, body) => require('retell-sdk').verify(body, 'key_retell', header(r, 'x-retell-signature')) },
  sanity: { secret: 'sanity-s',
    sign: async (body) => ({ ...json, 'idempotency-key': mac('id', body), 'sanity-webhook-signature':
      await require('@sanity/webhook').encodeSignatureHeader(body, Date.now(), 'sanity-s') }),
    verify: (r, body) => require('@sanity/webhook').isValidSignature(body, header(r, 'sanity-webhook-signature'), 'sanity-s') },
  terra: { secret: 'terra-s',
    sign: (body) => { const t = seconds(); return { ...json, 'terra-signature': `t=${t},v1=${mac('terra-s', `${t}.${body}`)}` }; },
    verify: (r, body) => require('terra-api').verifyTerraWebhookSignature(body, header(r, 'terra-signature'), 'terra-s') },
  vonage: { secret: 'a signature secret that is long enough',
    sign: (body) => {
      const part = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
      const text = `${part({ typ: 'JWT', alg: 'HS256' })}.${part({ iss: 'Vonage', iat: seconds(), jti: mac('id', body),
        payload_hash: createHash('sha256').update(body).digest('hex') })}`;
      return { ...json, Authorization: `Bearer ${text}.${mac(judges.vonage.secret, text, 'base64url')}` };
    },
    verify: (r) => require('@vonage/jwt').verifySignature(header(r, 'authorization').slice(7), judges.vonage.secret) },
  workos: { secret: 'wos-s', compact: true,
    sign: (body) => { const t = Date.now(); return { ...json, 'WorkOS-Signature': `t=${t}, v1=${mac('wos-s', `${t}.${body}`)}` }; },
    verify: (r, body) => new (require('@workos-inc/node').WorkOS)('sk_test', { clientId: 'c' }).webhooks.verifyHeader({
      payload: JSON.parse(body), sigHeader: header(r, 'workos-signature'), secret: 'wos-s' }) },
};

// Adyen's standard webhooks are signed in the body.
function adyenItem() {
  const item = { pspReference: '7914073381342284', merchantAccountCode: 'TestMerchant', merchantReference: 'grüße "1"',
    amount: { value: 1130, currency: 'EUR' }, eventCode: 'AUTHORISATION', success: 'true' };
  item.additionalData = { hmacSignature: adyen().calculateHmac({ originalReference: '', ...item }, hexKey) };
  return JSON.stringify({ live: 'false', notificationItems: [{ NotificationRequestItem: item }] });
}

async function sign({ base }) {
  const out = [];
  for (const [type, judge] of Object.entries(judges)) {
    for (const text of ['{"id":"e1","type":"a.b","text":"grüße"}', '{\n  "id": "e2",\r\n "x": "\u{1f600}" }\n']) {
      const body = judge.body ? judge.body(text) : text;
      out.push({ type, secret: judge.secret, body: Buffer.from(body).toString('base64'),
        headers: await judge.sign(body, `${base}/hooks/${type}`) });
    }
  }
  out.push({ type: 'adyen', secret: hexKey, headers: json, body: Buffer.from(adyenItem()).toString('base64'), inside: 'true' });
  return out;
}

async function verifyOne(r) {
  try {
    return await judges[r.type].verify(r, Buffer.from(r.body, 'base64').toString());
  } catch (e) {
    return String(e.message);
  }
}

async function verify(requests) {
  const said = [];
  // Paddle's believes a timestamp for five seconds only, which others take to be loaded.
  for (const hasty of [true, false]) {
    await Promise.all(requests.map(async (r, i) => {
      if ((r.type === 'paddle') === hasty) said[i] = await verifyOne(r);
    }));
  }
  return said;
}

const types = () => Object.entries(judges).map(([type, j]) => ({ type, secret: j.secret, compact: !!j.compact }));

let text = '';
for await (const chunk of process.stdin) text += chunk;
const result = { sign, verify, types }[process.argv[2]](text ? JSON.parse(text) : null);
process.stdout.write(JSON.stringify(await result), () => process.exit(0));
