"""OpenSSH's wildcard patterns, as in ssh_config and known_hosts (ssh_config(5), PATTERNS)."""

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def lowered(text: str) -> str:
    """The text with A to Z in lower case. OpenSSH leaves every other letter alone."""
    return text.translate(_LOWER)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """True when one of the patterns matches the name and none that begins with `!` does.

    `*` and `?` are the only wildcards. Upper and lower case differ. The time grows with the length of the
    name times that of the patterns, never faster: they come from files that others may have written.
    """
    found = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if _compiled(pattern[negated:]).fullmatch(name):
            if negated:
                return False
            found = True
    return found


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # `translate` makes atomic groups of what stands between two stars, so nothing is tried twice. Brackets
    # are no wildcards in OpenSSH, as in [::1]:22.
    return re.compile(translate(pattern.replace("[", "[[]")))
