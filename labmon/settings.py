"""The configuration as it is in force: one TOML file, the environment and the command line on top of it."""

import difflib
import math
import os
import re
import textwrap
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import platformdirs
import tomli_w
from msgspec import Meta

from labmon.config import Config, home_folder
from labmon.errors import ConfigError
from labmon.logs import hide_passwords
from labmon.units import Bytes, Seconds, Workers, decode

SEED_NAMES = {
    "QUEUE_ENABLED": "queue.enabled",
    "QUEUE_TYPE": "queue.type",
    "QUEUE_HOST": "queue.host",
    "QUEUE_PORT": "queue.port",
    "QUEUE_USER": "queue.user",
    "QUEUE_PASSWORD": "queue.password",
    "DISCOVERY_QUEUE": "queue.discovery_queue",
    "METRICS_QUEUE": "queue.metrics_queue",
    "ALERT_QUEUE": "queue.alert_queue",
}
"""Environment names of the scripts labmon replaces. Every other key is `LABMON_<TABLE>_<KEY>`, and so
are these, and then the longer name wins."""

NOT_KEYS = {"LABMON_CONFIG"}
"""Environment names of ours that are no key of the file."""


@dataclass(frozen=True)
class Key:
    """One key of the file, as its struct declares it."""

    table: str
    name: str
    type: Any
    default: Any
    comment: str
    secret: bool
    least: float | None
    example: str

    @property
    def path(self) -> str:
        """How it is named in `KEYS`, in flags and in `config show`."""
        return f"{self.table}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"LABMON_{self.table}_{self.name}".upper()

    def shown(self, value: Any) -> str:
        """The value as the file would write it, with secrets masked."""
        if self.secret and isinstance(value, list):
            return ", ".join(f"{one.name} (***)" for one in value) or "[]"
        if self.secret and value:
            masked = hide_passwords(str(value))
            value = masked if "://" in masked else "***"
        return _toml(value)


@dataclass(frozen=True)
class Loaded:
    """A checked configuration and where each value came from."""

    config: Config
    file: Path | None
    sources: Mapping[str, str] = field(default_factory=dict)  #: key path -> "default", a file, a variable

    def holds_secret(self) -> bool:
        """True when a secret's value comes from the file."""
        return any(key.secret and self.sources[key.path] == str(self.file) for key in KEYS.values())

    def rows(self) -> list[tuple[str, str, str]]:
        """(key, value with secrets masked, source) of every key, in the file's order."""
        return [
            (key.path, key.shown(getattr(getattr(self.config, key.table), key.name)), self.sources[key.path])
            for key in KEYS.values()
        ]


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, Seconds | Bytes | Workers):
        value = str(value)
    return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()


def _keys() -> dict[str, Key]:
    keys = {}
    for table in msgspec.structs.fields(Config):
        hints = get_type_hints(table.type, include_extras=True)
        for info in msgspec.structs.fields(table.type):
            meta = next(m for m in get_args(hints[info.name])[::-1] if isinstance(m, Meta) and m.description)
            key = Key(
                table.name,
                info.name,
                hints[info.name],
                getattr(table.default, info.name),
                meta.description or "",
                bool((meta.extra or {}).get("secret")),
                (meta.extra or {}).get("least"),
                (meta.extra or {}).get("example", ""),
            )
            keys[key.path] = key
    return keys


KEYS: dict[str, Key] = _keys()
"""Every key by its path, such as "queue.host", in the order of the sample file."""


def sample() -> str:
    """The commented configuration file: every key, its default, what it does."""
    out = [
        "# labmon configuration. Every key is here with its default; delete what you do not change.",
        "# Each key is also an environment variable, LABMON_<TABLE>_<KEY>, which wins over this file.",
        "# Check it with: labmon config check",
    ]
    for table in msgspec.structs.fields(Config):
        out += ["", f"# {table.type.__doc__}", f"[{table.name}]"]
        for key in KEYS.values():
            if key.table == table.name:
                line = f"{key.name} = {_toml(key.default)}"
                out += [*_wrapped(key.comment), textwrap.indent(key.example, "# ") or line]
    return "\n".join(out) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ")


def find_file(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: --config, LABMON_CONFIG, ./config.toml, the user's folder, /etc/labmon.

    Raises ConfigError when a file named outright is not there.
    """
    named = [(explicit, "--config"), (environ.get("LABMON_CONFIG"), "LABMON_CONFIG")]
    for value, name in named:
        if value:
            path = Path(value)
            if not path.is_file():
                raise ConfigError(f"{name}: no file {path}. Make one with: labmon config init {path}")
            return path
    user = None
    with suppress(ConfigError):
        user = user_file()
    candidates = [Path("config.toml"), user, Path("/etc/labmon/config.toml")]
    return next((path for path in candidates if path and _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that this account may not enter has no file for it
        return False


def user_file() -> Path:
    """Where the user's own configuration file belongs. Raises ConfigError for a user without a home."""
    return home_folder(platformdirs.user_config_path) / "config.toml"


def load(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read, overlay and check. `flags` maps key paths to values from the command line; None is "not given".

    Raises ConfigError naming the file or variable, the table, the key, and the nearest valid name.
    """
    environ = os.environ if environ is None else environ
    path = find_file(file, environ)
    given = {k: (v, "command line") for k, v in (flags or {}).items() if v is not None}
    written = _from_file(path) if path else {}
    spoken = _from_environment(environ) | given

    tables: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for key in KEYS.values():
        value, sources[key.path] = spoken.get(key.path) or written.get(key.path, (key.default, "default"))
        as_text = key.path in spoken
        tables.setdefault(key.table, {})[key.name] = _checked(key, value, sources[key.path], as_text=as_text)
    loaded = Loaded(msgspec.convert(tables, Config, dec_hook=decode), path, sources)
    _check_queues(loaded)
    _check_retention(loaded)
    _check_targets(loaded)
    return loaded


def _check_queues(loaded: Loaded) -> None:
    """Three queues are three, and none is another's lane or dead letters."""
    names = loaded.config.queue.names
    for key, name in zip(("discovery_queue", "metrics_queue", "alert_queue"), names, strict=True):
        source = loaded.sources[f"queue.{key}"]
        if names.count(name) > 1:
            raise ConfigError(f"{source}: [queue] {key}: {name!r} is another queue's name too")
        if name.endswith((".high", ".dead")):
            raise ConfigError(f"{source}: [queue] {key}: {name!r} ends as labmon's own helpers of a queue do")


def _check_retention(loaded: Loaded) -> None:
    """What is summed up from something is kept as long as that, or late data would spoil it."""
    keep = loaded.config.retention
    for finer, coarser in (("raw", "rollup_1h"), ("rollup_1h", "rollup_1d")):
        short, long = (float(getattr(keep, name)) or math.inf for name in (finer, coarser))
        if long < short:
            raise ConfigError(
                f"{loaded.sources[f'retention.{coarser}']}: [retention] {coarser}: "
                f"{getattr(keep, coarser)} is shorter than {finer}, {getattr(keep, finer)}"
            )
    if 0 < keep.pack_after < 86400:
        raise ConfigError(
            f"{loaded.sources['retention.pack_after']}: [retention] pack_after: expected 1d at least"
        )


def _check_targets(loaded: Loaded) -> None:
    """Deliveries are kept by the target's name."""
    names = [target.name for target in loaded.config.notify.targets]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(
            f"{loaded.sources['notify.targets']}: [[notify.targets]]: two are named {twice[0]!r}"
        )


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    tables = {key.table for key in KEYS.values()}
    found = {}
    for table, entries in document.items():
        if table not in tables:
            known = sorted(tables)
            raise ConfigError(f"{path}: there is no table [{table}]{_nearest(table, known)}")
        if not isinstance(entries, dict):
            raise ConfigError(f"{path}: {table} must be a table, written [{table}]")
        for name, value in entries.items():
            if f"{table}.{name}" not in KEYS:
                known = [key.name for key in KEYS.values() if key.table == table]
                raise ConfigError(f"{path}: [{table}] has no key {name}{_nearest(name, known)}")
            found[f"{table}.{name}"] = (value, str(path))
    return found


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    variables = SEED_NAMES | {key.variable: key.path for key in KEYS.values()}
    # Empty counts as unset: files of environment variables often list names without values.
    found = {path: (environ[name], name) for name, path in variables.items() if environ.get(name)}
    for name in environ:
        if name.startswith("LABMON_") and name not in variables and name not in NOT_KEYS:
            raise ConfigError(f"environment: {name} is no key of labmon{_nearest(name, list(variables))}")
    return found


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f". Did you mean {near[0]}?" if near else f". It may be: {', '.join(known)}"


def _checked(key: Key, value: Any, source: str, *, as_text: bool) -> Any:
    """The value as the key's type. `as_text`: from the environment or a flag, where "5" may mean 5."""
    if as_text and isinstance(value, str) and get_origin(get_args(key.type)[0]) is list:
        value = _listed(value)
    try:
        checked = msgspec.convert(value, key.type, strict=not as_text, dec_hook=decode)
        if key.least is not None and checked < key.least:
            raise msgspec.ValidationError(f"expected {type(checked)(key.least)} at least")
        return checked
    except msgspec.ValidationError as error:
        shown = "" if key.secret else f", not {value!r}"
        reason = _in_words(str(error))
        near = ""
        options = get_args(get_args(key.type)[0])
        if options and isinstance(value, str):
            near = _nearest(value, [str(o) for o in options])
            reason, shown = f"{value!r} is not one of its values", ""
        raise ConfigError(f"{source}: [{key.table}] {key.name}: {reason}{shown}{near}") from error


def _listed(text: str) -> list[Any]:
    """A list as the environment gives it: with commas, or as the file has it: [...]."""
    with suppress(tomllib.TOMLDecodeError):
        if text.lstrip().startswith("["):
            return list(tomllib.loads(f"x = {text}")["x"])
    return [part.strip() for part in text.split(",") if part.strip()]


def _in_words(said: str) -> str:
    """msgspec's complaint for people who do not know Python's types."""
    reason = said.replace("Expected", "expected").replace("`", "").split(" - at")[0].split(", got")[0]
    for kind, words in {
        "int": "a whole number",
        "bool": "true or false",
        "str": "text",
        "array": "a list",
    }.items():
        reason = re.sub(rf"\b{kind}\b", words, reason)
    return reason
