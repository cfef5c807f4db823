"""A browser without a screen, as much as pages without script need: cookies, forms, redirects on our own address."""
import html
import http.client
import re
import urllib.parse


class Browser:
    def __init__(self, port):
        self.port = port
        self.cookies = {}
        self.seen = []  # every answer's text, for planted secrets

    def request(self, method, path, form=None, headers=None):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=40)
        sent = {'Host': 'localhost:%d' % self.port}
        if self.cookies:
            sent['Cookie'] = '; '.join('%s=%s' % pair for pair in self.cookies.items())
        body = None
        if form is not None:
            body = form if isinstance(form, (str, bytes)) else urllib.parse.urlencode(form)
            sent['Content-Type'] = 'application/x-www-form-urlencoded'
        sent.update(headers or {})
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        answer.where = answer.getheader('Location') or ''
        self.seen.append(answer.text + answer.where)
        for line in answer.headers.get_all('Set-Cookie') or []:
            name, _, value = line.partition(';')[0].partition('=')
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
            answer.cookie_line = line
        connection.close()
        return answer

    def get(self, path, **more):
        return self.request('GET', path, **more)

    def follow(self, answer):
        while answer.status == 302 and answer.where.startswith('/'):
            answer = self.get(answer.where)
        return answer

    def form(self, text, action=None):
        """The fields of a form of a page, as a browser would send them."""
        for found, inside in re.findall(r'<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>', text, re.S):
            if action is None or html.unescape(found) == action:
                fields = {}
                for tag in re.findall(r'<input[^>]*>', inside):
                    name = re.search(r'name="([^"]*)"', tag)
                    value = re.search(r'value="([^"]*)"', tag)
                    if name:
                        fields[html.unescape(name.group(1))] = html.unescape(value.group(1)) if value else ''
                for name, options in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', inside, re.S):
                    first = re.search(r'<option[^>]*value="([^"]*)"', options)
                    fields[name] = html.unescape(first.group(1)) if first else ''
                return fields
        return None

    def login(self, token):
        page = self.get('/login')
        fields = self.form(page.text, '/login')
        fields['token'] = token
        return self.request('POST', '/login', fields)
