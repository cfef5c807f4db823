"""What GitLab and Discord answer with, in the form of a description (openapi.py) and in our own words: GitLab's
own is in no package, Discord's in one that may not be there. Requests are judged by our_requests.py; this is for answers with all members, the fewest, and odd ones.
https://docs.gitlab.com/api/project_webhooks/, /api/users/, /api/projects/, /api/groups/; https://discord.com/developers/docs/resources/"""


def flag(*names):
    return {name: {'type': 'boolean'} for name in names}


def text(*names):
    return {name: {'type': 'string', 'nullable': True} for name in names}


def an_object(required, **members):
    members = {name: schema if isinstance(schema, dict) else {'type': schema} for name, schema in members.items()}
    return {'type': 'object', 'properties': members, 'required': required.split()}


def answers(status, schema=None):
    content = {'content': {'application/json': {'schema': schema}}} if schema else {}
    return {'responses': {str(status): dict(content, description='')}}


def a_list(schema):
    return {'type': 'array', 'items': schema}


GITLAB_HOOK = an_object(
    'id url', id='integer', url='string', name='string', created_at='string', project_id='integer', disabled_until={
        'type': 'string', 'nullable': True}, custom_headers=a_list(an_object('key', key='string')),
    url_variables=a_list(an_object('key', key='string')), **dict(
        text('description', 'push_events_branch_filter', 'custom_webhook_template', 'branch_filter_strategy'),
        **flag('repository_update_events', 'confidential_note_events', 'feature_flag_events', 'milestone_events', 'emoji_events',
               'resource_access_token_events', 'vulnerability_events')))
GITLAB_HOOKS = {'get': answers(200, a_list(GITLAB_HOOK)), 'post': answers(201, GITLAB_HOOK)}
GITLAB_ONE = {'get': answers(200, GITLAB_HOOK), 'put': answers(200, GITLAB_HOOK), 'delete': answers(204)}
GITLAB_NAMESPACE = an_object('id', id='integer', name='string', path='string', kind='string', parent_id={
    'type': 'integer', 'nullable': True}, full_path='string', **text('avatar_url', 'web_url'))
GITLAB = {'servers': [{'url': 'https://gitlab.com/api/v4'}], 'paths': {
    '/user': {'get': answers(200, an_object(
        'id username', id='integer', username='string', name='string', state='string', locked='boolean', identities=a_list(
            an_object('provider', provider='string')), **text('avatar_url', 'web_url', 'bio', 'location', 'public_email',
                                                              'job_title', 'pronouns', 'last_sign_in_at', 'commit_email')))},
    '/projects/{id}': {'get': answers(200, an_object(
        'id path_with_namespace', id='integer', name='string', path='string', path_with_namespace='string',
        topics=a_list({'type': 'string'}), namespace=GITLAB_NAMESPACE, archived='boolean', open_issues_count='integer',
        permissions=an_object('', project_access={'type': 'object', 'nullable': True}), **text(
            'description', 'default_branch', 'avatar_url', 'readme_url', 'import_status')))},
    '/groups/{id}': {'get': answers(200, an_object(
        'id full_path', id='integer', name='string', path='string', full_path='string', parent_id={
            'type': 'integer', 'nullable': True}, projects=a_list({'type': 'object'}), **text('description', 'avatar_url')))},
    '/projects/{id}/hooks': GITLAB_HOOKS, '/groups/{id}/hooks': GITLAB_HOOKS,
    '/projects/{id}/hooks/{hook}': GITLAB_ONE, '/groups/{id}/hooks/{hook}': GITLAB_ONE,
}}

DISCORD_USER = an_object('id username', id='string', username='string', discriminator='string', public_flags='integer',
                         flags='integer', bot='boolean', mfa_enabled='boolean', accent_color={'type': 'integer', 'nullable': True},
                         **text('global_name', 'avatar', 'banner', 'email', 'locale'))
DISCORD_MESSAGE = an_object(
    'id channel_id author content timestamp edited_timestamp mentions embeds type', id='string', channel_id='string',
    author=DISCORD_USER, content='string', timestamp='string', tts='boolean', pinned='boolean', mentions=a_list(DISCORD_USER),
    embeds=a_list(an_object('', title='string')), attachments=a_list(an_object('id', id='string')), type='integer',
    components=a_list({'type': 'object'}), flags='integer', referenced_message={'type': 'object', 'nullable': True},
    **text('edited_timestamp', 'webhook_id'))
DISCORD = {'servers': [{'url': 'https://discord.com/api/v10'}], 'paths': {
    '/users/@me': {'get': answers(200, DISCORD_USER)},
    '/channels/{id}': {'get': answers(200, an_object(
        'id type', id='string', type='integer', guild_id='string', position='integer', flags='integer', nsfw='boolean',
        permission_overwrites=a_list(an_object('id type', id='string', type='integer', allow='string', deny='string')),
        rate_limit_per_user='integer', **text('name', 'topic', 'last_message_id', 'parent_id', 'last_pin_timestamp')))},
    '/channels/{id}/messages': {'get': answers(200, a_list(DISCORD_MESSAGE)), 'post': answers(200, DISCORD_MESSAGE)},
}}

OURS = {'gitlab': GITLAB, 'discord': DISCORD}
