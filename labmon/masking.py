"""Passwords in URLs and in texts that quote them: what may be printed, and what is masked."""

import re

MASK = "***"

_PLAIN_URL = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://"
    r"(?:(?P<user>[^:/?#@\[\]\s]*)(?P<password>:[^:/?#@\[\]\s]*)?@)?"
    r"(?P<hosts>[^@/?#\s]*)"
    r"(?P<path>/[^@?#\s]*)?"
    r"(?:\?(?P<query>(?:\w+=[^&#\s]*(?:&|$))*))?"
)
"""RFC 3986: in the user and the password / ? # @ : [ ] are written %2F %3F %23 %40 %3A %5B %5D. Several hosts
are separated by commas, as libpq has it."""

_HOSTS = re.compile(r"(?:[\w.%-]*|\[[0-9A-Fa-f:.%\w]*\])(?::\d{1,5})?", re.ASCII)

_PUBLIC_PARAMETERS = frozenset(
    "sslmode sslrootcert sslcert host hostaddr port user dbname connect_timeout application_name".split()
)
_NAMED_PASSWORD = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'?|[^&\s]+)", re.IGNORECASE)
_USER = re.compile(r"[\w.+%-]*", re.ASCII)


def is_plain_url(url: str) -> bool:
    """True when a URL can be read in one way only. Others hold a character that should be written as %XX,
    mostly in the password, and a program may take a part of the password for the host."""
    found = _PLAIN_URL.fullmatch(url)
    return found is not None and all(_HOSTS.fullmatch(host) for host in found["hosts"].split(","))


def mask_url(url: str) -> str:
    """A URL as it may be printed: scheme, user, hosts and path, the password as ***.

    Where it can be read in several ways only what is surely no password is left; of what is no URL, nothing.
    """
    if not url.isprintable() or "://" not in url:
        return MASK
    found = _PLAIN_URL.fullmatch(url)
    if found is None or not is_plain_url(url):
        return _ambiguous(url)
    user = f"{found['user']}:{MASK}@" if found["password"] else f"{found['user']}@" if found["user"] else ""
    query = f"?{_masked_query(found['query'])}" if found["query"] else ""
    return f"{found['scheme']}://{user}{found['hosts']}{found['path'] or ''}{query}"


def mask_path(url: str) -> str:
    """Scheme and hosts of a URL whose path is a secret, as those of many services are."""
    found = _PLAIN_URL.fullmatch(url) if is_plain_url(url) else None
    return f"{found['scheme']}://{found['hosts']}/{MASK}" if found else MASK


def _masked_query(query: str) -> str:
    from urllib.parse import parse_qsl  # every command would load it, and few need it

    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(f"{name}={value if name in _PUBLIC_PARAMETERS else MASK}" for name, value in pairs)


def _ambiguous(url: str) -> str:
    """User and host of a URL whose password holds a character that a URL must write as %XX."""
    scheme, _, rest = url.partition("://")
    before, _, after = rest.rpartition("@")
    user = before.partition(":")[0]
    host = re.split(r"[/?#]", after)[0]
    readable = before and not re.search(r"[?#]", rest) and _USER.fullmatch(user) and _HOSTS.fullmatch(host)
    if not readable or not re.fullmatch(r"[\w+.-]+", scheme):
        return MASK
    return f"{scheme}://{user}:{MASK}@{host}"


def mask_text(text: str) -> str:
    """A text with the password masked in every `scheme://user:password@host` and `password=...` of it.

    Each word is masked from its first `://` to its last `@`, since a password may hold both. Linear in the
    text's length.
    """
    if "://" in text:
        text = "".join(_masked_word(word) for word in re.split(r"(\s+)", text))
    return _NAMED_PASSWORD.sub(rf"\1{MASK}", text)


def _masked_word(word: str) -> str:
    begin = word.find("://")
    end = word.rfind("@")
    if begin < 0 or end < begin:
        return word
    user, colon, _ = word[begin + 3 : end].partition(":")
    return f"{word[:begin]}://{user}:{MASK}{word[end:]}" if colon else word


_SECRET_NAMES = (
    r"pass(?:word|wd|phrase)?|secret|token|api[_-]?key|private[_-]?key|credentials?|authorization|cookie"
)
_SECRET_MEMBER = re.compile(
    rf'("[^"\\]{{0,100}}(?:{_SECRET_NAMES})[^"\\]{{0,100}}"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}}\]]+)',
    re.IGNORECASE,
)
_SECRET_PAIR = re.compile(
    rf"((?<![A-Za-z0-9])(?:[\w.-]{{0,40}}[_.-])?(?:{_SECRET_NAMES}|pwd|api[_-]?token|access[_-]?key)[\"']?"
    r"\s{0,5}[=:]\s{0,5})"
    r"((?:Bearer|Basic|Token|Digest)\s+)?"
    r"('(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|[^\s,;&'\"(){}\[\]]+)",
    re.IGNORECASE,
)
"""`name=value` and `name: value` in text that is no JSON: logs, headers, queries, files of settings."""

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_TOKEN = re.compile(r"\blmt_[\w-]{6,}")


def mask_secrets(text: str) -> str:
    """A text of unknown origin with all masked that looks like a secret.

    That is what `mask_text` masks, JSON members and `name=value` or `name: value` whose name says so, private
    keys and tokens.
    """
    text = _KEY_BLOCK.sub(MASK, text)
    text = _SECRET_MEMBER.sub(rf'\1"{MASK}"', text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _SECRET_PAIR.sub(_masked_pair, text)
    return mask_text(_TOKEN.sub(MASK, text))


def _masked_pair(found: re.Match[str]) -> str:
    quote = found[3][0] if found[3][0] in "'\"" else ""
    return f"{found[1]}{found[2] or ''}{quote}{MASK}{quote}"
