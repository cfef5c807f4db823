// gitlab.mjs - which members a hook of GitLab takes, as its client library @gitbeaker/core types them, as a description (OpenAPI) of the
// requests: no package has GitLab's own. Answers are in tests/lib/answers.py. Runs where it is installed: node gitlab.mjs FILE
import { readFileSync, writeFileSync } from 'node:fs';

const types = readFileSync(new URL('node_modules/@gitbeaker/core/dist/index.d.ts', import.meta.url), 'utf8');
const snake = name => name.replace(/[A-Z]/g, letter => '_' + letter.toLowerCase());

function members(name) {
    const [, inside] = new RegExp(`^interface ${name}(?: extends \\w+)? \\{\\n(.*?)^\\}`, 'ms').exec(types);
    return Object.fromEntries([...inside.matchAll(/^ {4}(\w+)\??: (boolean|string|number);/gm)].map(
        ([, member, type]) => [snake(member), { type: type === 'number' ? 'integer' : type }]));
}

const hook = { type: 'object', required: ['url'], properties: { url: { type: 'string' }, ...members('AddResourceHookOptions') } };
const pages = ['page', 'per_page'].map(name => ({ name, in: 'query', schema: { type: 'integer' } }));
const body = { required: true, content: { 'application/json': { schema: hook } } };
const paths = {};
for (const of of ['projects', 'groups']) {
    paths[`/${of}/{id}/hooks`] = { get: { parameters: pages, responses: {} }, post: { requestBody: body, responses: {} } };
    paths[`/${of}/{id}/hooks/{hook}`] = { put: { requestBody: body, responses: {} }, delete: { responses: {} } };
}
if (!hook.properties.push_events || !hook.properties.token) {
    throw new Error('the types are not where they were');
}
writeFileSync(process.argv[2], JSON.stringify({ openapi: '3.1.0', servers: [{ url: 'https://gitlab.com/api/v4' }], paths }));
