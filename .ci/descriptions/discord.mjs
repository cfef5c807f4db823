// discord.mjs - what Discord publishes of its API, as far as becket asks it, as a description (OpenAPI): out of the paths, types and
// schemas that the package discord-api-spec makes of the published one. Runs where that is installed: node discord.mjs FILE
import { readFileSync, writeFileSync } from 'node:fs';
import * as z from 'zod';

// Its files are modules and do not say so, which node 18 wants to be told.
const manifest = new URL('node_modules/discord-api-spec/package.json', import.meta.url);
writeFileSync(manifest, JSON.stringify({ ...JSON.parse(readFileSync(manifest, 'utf8')), type: 'module' }));
const { pathsList } = await import('discord-api-spec');
const schemas = await import('discord-api-spec/zod');

const types = readFileSync(new URL('node_modules/discord-api-spec/build/discord-api-spec.ts', import.meta.url), 'utf8');

// The operations that becket knows: what it sends and what it may be answered.
const ours = {
    'get /users/@me': { answer: 'UserPIIResponse' },
    'get /channels/{channel_id}': { answer: 'GuildChannelResponse' },
    'get /channels/{channel_id}/messages': { answer: 'MessageResponse', list: true },
    'post /channels/{channel_id}/messages': { body: 'MessageCreateRequest', answer: 'MessageResponse' },
};

const root = { openapi: '3.1.0', servers: [{ url: 'https://discord.com/api/v10' }], paths: {}, components: { schemas: {} } };

function schemaOf(name) {
    const found = z.toJSONSchema(schemas[name + 'Schema'], { unrepresentable: 'any', io: 'input' });
    const text = JSON.stringify(found).replaceAll('"#/', `"#/components/schemas/${name}/`).replaceAll('"$ref":"#"',
        `"$ref":"#/components/schemas/${name}"`);
    root.components.schemas[name] = JSON.parse(text);
    return { $ref: '#/components/schemas/' + name };
}

// The names in the query of an operation: `query?: { limit?: number; … }` of its type.
function queryOf(method, path) {
    const from = types.indexOf(`  "${path}": {\n`);
    const operation = types.slice(types.indexOf(`    ${method}: {\n`, from));
    const [, inside] = /\n        query\?: (never|\{[^}]*\});/.exec(operation);
    return [...inside.matchAll(/^ {10}(\w+)(\?)?: (\w+)/gm)].map(([, name, optional, type]) => ({
        name, in: 'query', required: !optional, schema: { type: type === 'number' ? 'integer' : 'string' } }));
}

for (const [method, paths] of Object.entries(pathsList)) {
    for (const path of paths) {
        const { body, answer, list } = ours[method + ' ' + path] ?? {};
        const operation = { parameters: answer ? queryOf(method, path) : [], responses: {} };
        if (body) {
            operation.requestBody = { required: true, content: { 'application/json': { schema: schemaOf(body) } } };
        }
        if (answer) {
            const schema = list ? { type: 'array', items: schemaOf(answer) } : schemaOf(answer);
            operation.responses['200'] = { description: '', content: { 'application/json': { schema } } };
        }
        (root.paths[path] ??= {})[method] = operation;
    }
}
for (const name of Object.keys(ours)) {
    const [method, path] = name.split(' ');
    if (!root.paths[path]?.[method]) {
        throw new Error(`Discord has no ${name} any more`);
    }
}
writeFileSync(process.argv[2], JSON.stringify(root));
