"""The environment of a run: an allow-list of what the supervisor's own holds, and what the configuration adds."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What every run inherits unless `[agent] env_allow` says otherwise: what a command needs to find its files, its
#: login, its proxy and its certificates. Any other secret of the shell that started the pool stays there.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*", "TERM"),
    *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "SSH_AUTH_SOCK"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("GIT_SSL_CAINFO", "ANTHROPIC_*", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN"),
    *("CLAUDE_CODE_USE_*", "CLAUDE_CODE_SKIP_*_AUTH", "CLAUDE_CODE_CLIENT_*", "AWS_*", "AZURE_*"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "CLOUD_ML_REGION", "VERTEX_REGION_*"),
)

#: Variables that tell a command which agent session it runs in. No run inherits them, whatever the allow-list says: a
#: command that finds them refuses to start inside another session, or reports to that one.
SESSION = (
    *("CLAUDECODE", "CLAUDE_CODE_SESSION*", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT"),
    "AGENTPOOL_*",
)


def run_environment(source: Mapping[str, str], *, allow: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """What a run gets: the variables of `source` that `allow` names, then `given` on top.

    The supervisor's own markers are not in it.

    Args:
        source: the supervisor's environment.
        allow: names, or patterns such as `LC_*`.
        given: `[agent] env`.
    """
    allowed, dropped = _any_of(tuple(allow)), _any_of(SESSION)
    inherited = {name: value for name, value in source.items() if allowed.match(name) and not dropped.match(name)}
    return {**inherited, **given}


def is_session_variable(name: str) -> bool:
    """Whether this variable belongs to an agent session, so that the configuration must not set it."""
    return _any_of(SESSION).match(name) is not None


@cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    # `(?!)` matches nothing: an empty list allows nothing.
    return re.compile("|".join(map(translate, patterns)) or "(?!)")
