"""The configuration in force: one TOML file, the environment and the command line on top of it."""

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from labmon.config.check import check
from labmon.config.home import home_folder
from labmon.config.keys import KEYS, SEED_NAMES, names_of
from labmon.config.tables import Config
from labmon.errors import ConfigError
from labmon.text import NotText, foreign, nearest, read_text, read_toml
from labmon.trust import check_owned

NOT_KEYS = {"LABMON_CONFIG", "LABMON_DEMO"}
"""Environment names of labmon that are no key of the file."""

_SERVICE_LINK = re.compile(r"LABMON\w*_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")
"""Kubernetes and Docker links set such variables for every service near a container: `LABMON_SERVICE_HOST`
and `LABMON_PORT=tcp://10.3.0.7:80` for one called labmon, `QUEUE_PORT=tcp://...` for one called queue."""


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
        """(key, value with secrets masked, source) of every key, in the file's order.

        An empty [state] dir is shown as the folder that it means, since that is not the same for everybody.
        """
        return [
            (key.path, *self._state_folder())
            if key.path == "state.dir"
            else (
                key.path,
                key.shown(getattr(getattr(self.config, key.table), key.name)),
                self.sources[key.path],
            )
            for key in KEYS.values()
        ]

    def _state_folder(self) -> tuple[str, str]:
        state, source = self.config.state, self.sources["state.dir"]
        try:
            folder = str(state.folder)
        except ConfigError:
            folder = ""
        reason = f" ({state.reason})" if source == "default" else ""
        return KEYS["state.dir"].shown(folder), f"{source}{reason}"


def find_file(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: --config, LABMON_CONFIG, ./config.toml, the user's folder, /etc/labmon.

    Raises ConfigError when a file that was named is not there, and when another account may have written the
    file: it names commands to run, servers that get passwords, and folders to write to.
    """
    named = [(explicit, "--config"), (environ.get("LABMON_CONFIG"), "LABMON_CONFIG")]
    for value, name in named:
        if value:
            path = Path(value)
            if problem := _no_file(path):
                raise ConfigError(f"{name}: {problem}")
            check_owned(path)
            return path
    user = None
    with suppress(ConfigError):
        user = user_file()
    candidates = [Path("config.toml"), user, Path("/etc/labmon/config.toml")]
    found = next((path for path in candidates if path and _is_file(path)), None)
    if found:
        check_owned(found)
    return found


def _no_file(path: Path) -> str:
    """Why that is no file to read, and the next step. Empty: it is one."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return f"no file {path}. Make one with: labmon config init {path}"
    except (OSError, ValueError) as error:
        return f"{path}: {getattr(error, 'strerror', None) or error}. Name another file"
    if stat.S_ISDIR(mode):
        inside = path / "config.toml"
        return f"{path} is a folder. Name the file in it: {inside}" + (
            "" if _is_file(inside) else f", after: labmon config init {inside}"
        )
    return "" if stat.S_ISREG(mode) else f"{path} is no regular file. Name a file, such as config.toml"


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

    Raises ConfigError with every fault, each naming the file or variable, the table, the key, and the nearest
    valid name.
    """
    loaded, faults = read(file, environ=environ, flags=flags)
    if faults:
        raise ConfigError(*faults)
    return loaded


def read(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[Loaded, list[str]]:
    """The same, and every fault, to look for more: what is wrong has its default. Raises as `find_file`."""
    environ = os.environ if environ is None else environ
    path = find_file(file, environ)
    given = {k: (v, "command line") for k, v in (flags or {}).items() if v is not None}
    written, faults = _from_file(path) if path else ({}, [])
    from_environment, unknown = _from_environment(environ)
    faults += unknown
    overriding = from_environment | given

    tables: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for key in KEYS.values():
        found = overriding.get(key.path) or written.get(key.path, (key.default, "default"))
        value, sources[key.path] = found
        checked, wrong = check(key, value, as_text=key.path in overriding)
        faults += [f"{sources[key.path]}: {text}" for text in wrong]
        tables.setdefault(key.table, {})[key.name] = checked
    config = Config(**{info.name: info.type(**tables[info.name]) for info in msgspec.structs.fields(Config)})
    faults += _between_keys(config, sources)
    return Loaded(config, path, sources), faults


def as_written(loaded: Loaded) -> tuple[Loaded, list[str]]:
    """The same, with the file's own value of each key that something overrides, and what is wrong with these.

    Nothing uses them now; without the variable, on another day, everything would.
    """
    written, _ = _from_file(loaded.file) if loaded.file else ({}, [])
    hidden = {path: found for path, found in written.items() if loaded.sources[path] != found[1]}
    tables: dict[str, dict[str, Any]] = {}
    faults = []
    for path, (value, source) in hidden.items():
        key = KEYS[path]
        tables.setdefault(key.table, {})[key.name], wrong = check(key, value, as_text=False)
        faults += [f"{source}: {text}" for text in wrong]
    replaced = {
        name: msgspec.structs.replace(getattr(loaded.config, name), **values)
        for name, values in tables.items()
    }
    config = msgspec.structs.replace(loaded.config, **replaced)
    sources = {**loaded.sources, **{path: source for path, (_, source) in hidden.items()}}
    faults += [
        text
        for text in _between_keys(config, sources)
        if any(
            text.startswith(f"{source}: [{KEYS[path].table}] {KEYS[path].name}:")
            for path, (_, source) in hidden.items()
        )
    ]
    return Loaded(config, loaded.file, sources), faults


def _between_keys(config: Config, sources: Mapping[str, str]) -> list[str]:
    return [
        f"{sources[f'{name}.{key}']}: [{name}] {key}: {text}"
        for name in config.__struct_fields__
        for key, text in getattr(config, name).faults()
    ]


_Given = dict[str, tuple[Any, str]]
"""Key path -> (value, source)."""


def _from_file(path: Path) -> tuple[_Given, list[str]]:
    try:
        document = read_toml(read_text(path))
    except NotText as error:
        return {}, [f"{path}: not text: {error}"]
    except ValueError as error:
        return {}, [f"{path}: not TOML: {error}"]
    except OSError as error:
        return {}, [f"{path}: cannot be read: {error.strerror}"]
    tables = list(Config.__struct_fields__)
    found: _Given = {}
    faults = []
    for table, entries in document.items():
        if table not in tables:
            faults.append(f"{path}: there is no table [{foreign(table)}]{nearest(table, sorted(tables))}")
        elif not isinstance(entries, dict):
            faults.append(f"{path}: {table} must be a table, written [{table}]")
        else:
            for name, value in entries.items():
                if f"{table}.{name}" in KEYS:
                    found[f"{table}.{name}"] = (value, str(path))
                else:
                    near = nearest(name, names_of(table))
                    faults.append(f"{path}: [{table}] has no key {foreign(name)}{near}")
    return found, faults


def _from_environment(environ: Mapping[str, str]) -> tuple[_Given, list[str]]:
    variables = SEED_NAMES | {key.variable: key.path for key in KEYS.values()}
    # Empty counts as unset: files of environment variables often list names without values.
    found = {
        path: (environ[name], name)
        for name, path in variables.items()
        if environ.get(name) and not _is_service_link(name, environ[name])
    }
    faults = [
        f"environment: {foreign(name)} is no key of labmon{nearest(name, variables)}"
        for name, value in environ.items()
        if name.startswith("LABMON_")
        and name not in variables
        and name not in NOT_KEYS
        and not _is_service_link(name, value)
    ]
    return found, faults


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(name):
        return True
    return name.endswith("PORT") and _SERVICE_ADDRESS.fullmatch(value) is not None
