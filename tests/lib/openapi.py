"""A provider's published description (OpenAPI 3, Swagger 2) as a judge of requests and a source of answers.

    github = Description('build/descriptions/github.json')
    github.wrongs('GET', '/user', 'a=1', headers, b'')        what does not fit, in words
    github.answer('GET', '/user', 200, {'id': 1}, 'full')     an answer of its schema that says this

Stricter than the standard asks: what the description does not name is wrong, too.
"""
import json
import re
import urllib.parse

METHODS = ('get', 'put', 'post', 'delete', 'options', 'head', 'patch')


class Description:
    def __init__(self, file):
        """Of a file, or of a dict (answers.py)."""
        self.root = file
        if not isinstance(file, dict):
            with open(file) as f:
                self.root = json.load(f)
        self.swagger = 'swagger' in self.root
        self.paths = []
        # GitLab's has its base in every path
        prefixes = {re.match(r'(/api/v\d+(?=/))?', path).group() for path in self.root['paths']}
        self.prefix = prefixes.pop() if len(prefixes) == 1 else ''
        for path, item in self.root['paths'].items():
            path = path[len(self.prefix):]
            pattern = ''.join('([^/]+)' if part.startswith('{') else re.escape(part)
                              for part in re.split(r'(\{[^}]+\})', path))
            self.paths.append((re.compile(pattern), path.count('{'), path, item))
        self.paths.sort(key=lambda row: row[1])  # a path without parameters before one that also fits

    def base(self):
        """What stands before its paths."""
        if self.swagger:
            return self.root.get('basePath', '').rstrip('/') + self.prefix
        url = (self.root.get('servers') or [{'url': ''}])[0]['url']  # '{protocol}://{hostname}/api/v3'
        return re.sub(r'^[^/]*//[^/]*', '', url).rstrip('/') + self.prefix

    def resolve(self, node):
        while isinstance(node, dict) and '$ref' in node:
            at = self.root
            for part in node['$ref'][2:].split('/'):
                at = at[urllib.parse.unquote(part).replace('~1', '/').replace('~0', '~')]
            node = at
        return node

    def operation(self, method, path):
        """(operation, parameters, values of the path's) or a word why there is none."""
        found = None
        for pattern, _, name, item in self.paths:
            match = pattern.fullmatch(path)
            if match:
                found = found or name
                if method.lower() in item:
                    operation = item[method.lower()]
                    parameters = [self.resolve(p) for p in item.get('parameters', []) + operation.get('parameters', [])]
                    names = re.findall(r'\{([^}]+)\}', name)
                    return operation, parameters, dict(zip(names, map(urllib.parse.unquote, match.groups())))
        return '%s has no %s' % (found, method) if found else 'there is no path %s' % path

    # ---- requests

    def wrongs(self, method, path, query, headers, body):
        found = self.operation(method, path)
        if isinstance(found, str):
            return [found]
        operation, parameters, values = found
        given = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        lower = {k.lower(): v for k, v in headers.items()}
        wrong = ['query %s is not known' % n for n in given
                 if not any(p['in'] == 'query' and p['name'] == n for p in parameters)]
        for p in parameters:
            source = {'query': given, 'path': values, 'header': lower}.get(p['in'])
            if source is None:
                continue
            name = p['name'].lower() if p['in'] == 'header' else p['name']
            if name not in source:
                if p.get('required'):
                    wrong.append('%s %s is missing' % (p['in'], p['name']))
            else:
                schema = p.get('schema') or p
                wrong += self.check(schema, self.typed(schema, source[name]), '%s %s' % (p['in'], p['name']))
        return wrong + self.accept_wrongs(operation, lower) + self.body_wrongs(operation, parameters, lower, body)

    def knows(self, path):
        return any(pattern.fullmatch(path) for pattern, _, _, _ in self.paths)

    def accept_wrongs(self, operation, headers):
        """Is a type asked for that it answers with? To the letter: application/vnd.x+json is not application/json."""
        if self.swagger:
            kinds = operation.get('produces') or self.root.get('produces') or []
        else:
            kinds = {kind for status, response in operation.get('responses', {}).items() if status.startswith('2')
                     for kind in self.resolve(response).get('content', {})}
        wanted = [part.partition(';')[0].strip() for part in headers.get('accept', '*/*').split(',')]
        fit = any(w in ('*/*', kind, kind.partition('/')[0] + '/*') for w in wanted for kind in kinds)
        return [] if fit or not kinds else ['it answers with %s, not with %s' % (', '.join(kinds), ', '.join(wanted))]

    def body_wrongs(self, operation, parameters, headers, body):
        schema, required, kinds = self.body_schema(operation, parameters)
        if schema is None:
            return ['it takes no body'] if body else []
        if not body:
            return ['the body is missing'] if required else []
        kind = headers.get('content-type', '').partition(';')[0].strip()
        if kinds and kind not in kinds:
            return ['content type %r is not one of %s' % (kind, ', '.join(kinds))]
        if kind == 'application/x-www-form-urlencoded':
            value = dict(urllib.parse.parse_qsl(body.decode()))
        else:
            value = json.loads(body)
        return self.check(schema, value, 'body')

    def body_schema(self, operation, parameters):
        if not self.swagger:
            body = self.resolve(operation.get('requestBody'))
            if not body:
                return None, False, []
            content = body.get('content', {})
            chosen = content.get('application/json') or next(iter(content.values()), {})
            return chosen.get('schema', {}), body.get('required', False), list(content)
        kinds = operation.get('consumes') or self.root.get('consumes') or []
        for p in parameters:
            if p['in'] == 'body':
                return p['schema'], p.get('required', False), kinds
        form = [p for p in parameters if p['in'] == 'formData']
        if not form:
            return None, False, []
        return ({'type': 'object', 'properties': {p['name']: p for p in form},
                 'required': [p['name'] for p in form if p.get('required')]},
                any(p.get('required') for p in form), kinds)

    def typed(self, schema, text):
        kind = self.resolve(schema).get('type')
        if kind == 'integer' and re.fullmatch(r'-?\d+', text):
            return int(text)
        if kind == 'boolean' and text in ('true', 'false'):
            return text == 'true'
        return text

    # ---- values

    TYPES = {'object': dict, 'array': list, 'string': str, 'boolean': bool, 'integer': int, 'number': (int, float)}

    def is_type(self, kind, value):
        if kind == 'null':
            return value is None
        if kind in ('integer', 'number') and isinstance(value, bool):
            return False
        return isinstance(value, self.TYPES.get(kind, object))

    def check(self, schema, value, place, strict=True):
        """What is wrong with a value. strict: members that are not named are wrong as well."""
        schema = self.resolve(schema)
        if not isinstance(schema, dict):
            return []
        if value is None and schema.get('nullable'):
            return []
        wrong = []
        for part in schema.get('allOf', []):
            wrong += self.check(part, value, place, False)
        for some in ('oneOf', 'anyOf'):
            tries = [self.check(part, value, place, strict) for part in schema.get(some, [])]
            if tries and all(tries):
                wrong += min(tries, key=len)
        kinds = schema.get('type')
        kinds = kinds if isinstance(kinds, list) else [kinds] if kinds in self.TYPES or kinds == 'null' else []
        if kinds and not any(self.is_type(k, value) for k in kinds):
            return wrong + ['%s must be %s, is %r' % (place, ' or '.join(kinds), value)]
        if 'enum' in schema and value not in schema['enum']:
            wrong.append('%s is %r, not one of %s' % (place, value, schema['enum']))
        if isinstance(value, str):
            if not schema.get('minLength', 0) <= len(value) <= schema.get('maxLength', len(value)):
                wrong.append('%s is too long or too short' % place)
            if 'pattern' in schema and not re.search(schema['pattern'], value):
                wrong.append('%s does not match %s' % (place, schema['pattern']))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not schema.get('minimum', value) <= value <= schema.get('maximum', value):
                wrong.append('%s is %r, out of its bounds' % (place, value))
        if isinstance(value, list):
            if not schema.get('minItems', 0) <= len(value) <= schema.get('maxItems', len(value)):
                wrong.append('%s has too many or too few items' % place)
            if schema.get('uniqueItems') and any(item in value[:i] for i, item in enumerate(value)):
                wrong.append('%s has an item twice' % place)
            for i, item in enumerate(value):
                wrong += self.check(schema.get('items', {}), item, '%s[%d]' % (place, i), strict)
        if isinstance(value, dict):
            wrong += self.check_object(schema, value, place, strict)
        return wrong

    def check_object(self, schema, value, place, strict):
        known = schema.get('properties', {})
        more = schema.get('additionalProperties', not (known and strict) or 'allOf' in schema or 'oneOf' in schema)
        wrong = ['%s.%s is missing' % (place, n) for n in schema.get('required', []) if n not in value]
        for name, item in value.items():
            if name in known:
                wrong += self.check(known[name], item, '%s.%s' % (place, name), strict)
            elif more is False:
                wrong.append('%s.%s is not known' % (place, name))
            elif isinstance(more, dict):
                wrong += self.check(more, item, '%s.%s' % (place, name), strict)
        return wrong

    # ---- answers

    def answer(self, method, path, status, says, way):
        """An answer that says this, and around it what the schema wants: way 'full' has every member, 'least' only
        what must be there, 'odd' null wherever null may be, and members from the future."""
        found = self.operation(method, path)
        if isinstance(found, str):
            return says
        responses = found[0].get('responses', {})
        response = self.resolve(responses.get(str(status)) or responses.get('default') or {})
        schema = response.get('schema')
        if schema is None:
            schema = next(iter(response.get('content', {}).values()), {}).get('schema')
        return says if schema is None or says is None else self.overlay(schema, says, way)

    def headers(self, method, path, status):
        """The examples of an answer's headers."""
        found = self.operation(method, path)
        response = {} if isinstance(found, str) else self.resolve(found[0].get('responses', {}).get(str(status)) or {})
        headers = {name: self.resolve(header) for name, header in response.get('headers', {}).items()}
        return {name: str(header['example']) for name, header in headers.items() if 'example' in header}

    def overlay(self, schema, says, way):
        schema = self.resolve(schema)
        if isinstance(says, list) and isinstance(schema, dict):
            return [self.overlay(schema.get('items', {}), item, way) for item in says]
        if not isinstance(says, dict):
            return says
        made = self.example(schema, way, 0)
        made = made if isinstance(made, dict) else {}
        known = self.members(schema)
        for name, value in says.items():
            made[name] = self.overlay(known.get(name, {}), value, way)
        return made

    def members(self, schema):
        schema = self.resolve(schema)
        known = dict(schema.get('properties', {}))
        for part in schema.get('allOf', []) + schema.get('anyOf', [])[:1] + schema.get('oneOf', [])[:1]:
            known.update(self.members(part))
        return known

    def example(self, schema, way, depth):
        schema = self.resolve(schema) or {}
        kinds = schema.get('type')
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if way == 'odd' and (schema.get('nullable') or 'null' in kinds):
            return None
        known = self.members(schema)
        if known or 'object' in kinds:
            wanted = set(schema.get('required', []))
            for part in schema.get('allOf', []):
                wanted |= set(self.resolve(part).get('required', []))
            made = {n: self.example(s, way, depth + 1) for n, s in known.items()
                    if (n in wanted or way == 'full') and depth < 5}
            return dict(made, from_the_future={'a': [1, None]}) if way == 'odd' else made
        for some in ('oneOf', 'anyOf'):
            if schema.get(some):
                return self.example(schema[some][0], way, depth)
        if schema.get('enum'):
            return schema['enum'][0]
        if 'array' in kinds:
            return [] if way != 'full' or depth > 3 else [self.example(schema.get('items', {}), way, depth + 1)]
        if 'integer' in kinds or 'number' in kinds:
            return 9007199254740993  # one more than a double can hold
        if 'boolean' in kinds:
            return False
        return 'x' if 'string' in kinds or kinds == [None] else None
