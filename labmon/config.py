"""One TOML file into frozen structs, with the environment and the command line on top.

The structs are the only list of keys: type, default, bounds and comment stand together, and the
commented sample file, the environment names and the checks are all read off them.
"""

import difflib
import os
import re
import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import platformdirs
import tomli_w
from msgspec import Meta, Struct

from labmon.errors import ConfigError
from labmon.logs import hide_passwords

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


class Seconds(float):
    """A duration. Written as a number of seconds or as "250ms", "30s", "5m", "24h", "7d"."""

    UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

    @classmethod
    def parse(cls, value: object) -> "Seconds":
        """Raises ValueError for what is no duration, negative ones included."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", str(value).strip())
        if isinstance(value, bool) or not match:
            raise ValueError('expected a duration such as "30s", "5m", "24h" or "7d"')
        return cls(float(match[1]) * cls.UNITS[match[2] or "s"])

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            if self and self % self.UNITS[unit] == 0:
                return f"{int(self / self.UNITS[unit])}{unit}"
        return f"{int(round(self * 1000))}ms" if self else "0s"


class Bytes(int):
    """An amount of storage. Written as a number of bytes or as "64KiB", "256MiB", "2GiB"."""

    UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

    @classmethod
    def parse(cls, value: object) -> "Bytes":
        """Raises ValueError for what is no amount."""
        match = re.fullmatch(r"(\d+)\s*(KiB|MiB|GiB)?", str(value).strip(), re.ASCII)
        if isinstance(value, bool) or not match:
            raise ValueError('expected an amount of bytes such as "64KiB", "256MiB" or "2GiB"')
        return cls(int(match[1]) * cls.UNITS.get(match[2], 1))

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % self.UNITS[unit] == 0:
                return f"{self // self.UNITS[unit]}{unit}"
        return f"{int(self)}"


def _says(text: str, *, secret: bool = False, **bounds: Any) -> Meta:
    return Meta(description=text, extra={"secret": secret}, **bounds)


QueueName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]
Port = Annotated[int, Meta(ge=1, le=65535)]
HighPriority = Annotated[str, Meta(pattern=r"^(dept|lab|system):[1-9][0-9]{0,9}$")]


class Database(Struct, frozen=True, kw_only=True):
    """Where labmon keeps what it learns."""

    url: Annotated[
        str,
        _says(
            "PostgreSQL 14 or later, such as postgresql://labmon:secret@db.example.edu/labmon. "
            "Empty: an embedded PostgreSQL in the state folder, started and stopped by labmon itself.",
            secret=True,
        ),
    ] = ""
    pool_size: Annotated[int, _says("Connections that one process may open.", ge=1, le=1000)] = 8
    connect_timeout: Annotated[Seconds, _says("How long to wait for the server to answer.")] = Seconds(10)


class Queue(Struct, frozen=True, kw_only=True):
    """The queue between the commands that find things out and the workers that store them."""

    enabled: Annotated[
        bool, _says("Send scans and measurements through the queue; false: store them directly.")
    ] = False
    type: Annotated[
        Literal["postgres", "redis", "rabbitmq"],
        _says("The broker. postgres: with no host below, the store's own database serves as the queue."),
    ] = "postgres"
    host: Annotated[
        str,
        _says(
            "The broker's host; for rabbitmq also several with commas, tried in turn. Empty: this machine; "
            "with type postgres the [database]."
        ),
    ] = ""
    port: Annotated[int, _says("The broker's port. 0: the usual one of its type.", ge=0, le=65535)] = 0
    user: Annotated[str, _says("The account at the broker. Empty for rabbitmq: guest.")] = ""
    password: Annotated[
        str, _says("Its password. Better in the environment: QUEUE_PASSWORD.", secret=True)
    ] = ""
    tls: Annotated[bool, _says("Encrypt the connection to redis or rabbitmq, and check its certificate.")] = (
        False
    )
    tls_ca: Annotated[
        str, _says("A file with the certificates to check it by. Empty: those of the system.")
    ] = ""
    tls_verify: Annotated[
        bool, _says("false, for rabbitmq: encrypt, but check nothing (anyone may listen in).")
    ] = True
    database: Annotated[
        str,
        _says(
            "The database at that host that holds the queue. postgres: a name; empty: labmon. "
            "redis: a number; empty: 0."
        ),
    ] = ""
    vhost: Annotated[str, _says("The virtual host at rabbitmq.")] = "/"
    management_url: Annotated[
        str,
        _says(
            "The management API of rabbitmq, such as http://mq.example.edu:15672, for policies and for "
            "messages in flight. Empty: do without."
        ),
    ] = ""
    discovery_queue: Annotated[QueueName, _says("What scans find.")] = "discovery_queue"
    metrics_queue: Annotated[QueueName, _says("What collecting measures.")] = "metrics_queue"
    alert_queue: Annotated[QueueName, _says("What somebody should be told.")] = "alert_queue"
    lease: Annotated[
        Seconds,
        _says("How long a worker may hold a message before another may take it. Longer than any batch."),
    ] = Seconds(60)
    ttl: Annotated[
        Seconds,
        _says('Measurements that waited longer are not stored but dead letters, as "expired". 0s: never.'),
    ] = Seconds(0)
    high_priority: Annotated[
        list[HighPriority],
        _says(
            'Whose messages are served first, such as ["dept:1", "lab:3", "system:42"]. '
            "Critical alerts always are."
        ),
    ] = msgspec.field(default_factory=list)
    depth_warning: Annotated[
        int, _says("More messages waiting in one queue than this: more workers are needed.", ge=1)
    ] = 1000
    depth_critical: Annotated[
        int, _says("More than this: somebody is told, by a queue_backlog alert.", ge=1)
    ] = 10000
    backlog_hold: Annotated[
        Seconds, _says("How long a queue must stay above depth_critical before the alert is sent.")
    ] = Seconds(300)

    @property
    def names(self) -> list[str]:
        """The three queues' names."""
        return [self.discovery_queue, self.metrics_queue, self.alert_queue]

    @property
    def in_store(self) -> bool:
        """True when the store's own database is the broker."""
        return self.type == "postgres" and not self.host


class Scan(Struct, frozen=True, kw_only=True):
    """Finding computers."""

    max_hosts: Annotated[int, _says("Larger networks are refused without --force.", ge=1)] = 65536
    rate: Annotated[int, _says("Packets per second at most. 0: as fast as the socket takes.", ge=0)] = 10000
    retries: Annotated[
        int,
        _says(
            "How often a silent address is asked again at most; more than once or twice only when that "
            "brings somebody new, which means that packets get lost.",
            ge=0,
            le=10,
        ),
    ] = 7
    timeout: Annotated[
        Seconds, _says("How long to wait for the last answers at most; less where answers come quickly.")
    ] = Seconds(1)
    tcp_ports: Annotated[
        list[Port], _says("Ports tried where a ping gets no answer, or may not be sent.")
    ] = msgspec.field(default_factory=lambda: [22, 445, 3389, 80])
    tcp_silent_max: Annotated[
        int,
        _says("With --type auto, silent addresses are asked by TCP when no more than this are left.", ge=0),
    ] = 4096
    details: Annotated[
        bool,
        _says(
            "With --type auto, who was found is pinged as well and tried at tcp_ports: system, open ports."
        ),
    ] = True
    exclude: Annotated[
        list[str], _says("Never asked: networks, ranges, addresses, or @FILE with such in it.")
    ] = msgspec.field(default_factory=list)
    allow: Annotated[
        list[str], _says("Where given, all that may be asked: networks, ranges or addresses.")
    ] = msgspec.field(default_factory=list)
    names: Annotated[bool, _says("Look up host names by reverse DNS.")] = True
    name_timeout: Annotated[Seconds, _says("How long the scan may take longer for the sake of names.")] = (
        Seconds(3)
    )


class Collect(Struct, frozen=True, kw_only=True):
    """Measuring computers over SSH."""

    user: Annotated[str, _says("The account on the machines. Empty: the account that runs labmon.")] = ""
    port: Annotated[Port, _says("Their SSH port, where the store knows no other for a machine.")] = 22
    key_files: Annotated[
        list[str],
        _says("Private keys to try, in this order. Empty: the SSH agent, then the usual ~/.ssh/id_* files."),
    ] = msgspec.field(default_factory=list)
    password_file: Annotated[
        str, _says("A file whose first line is the account's password. Empty: keys only.")
    ] = ""
    host_keys: Annotated[
        Literal["accept-new", "strict", "off"],
        _says(
            "accept-new: remember a machine's key at first sight, refuse a changed one. "
            "strict: refuse unknown ones too. off: check nothing (anyone may listen in)."
        ),
    ] = "accept-new"
    concurrency: Annotated[int, _says("Machines measured at the same time.", ge=1, le=10000)] = 64
    deadline: Annotated[
        Seconds, _says("Hard limit per machine: connecting, logging in, measuring, reading.")
    ] = Seconds(20)


class Consume(Struct, frozen=True, kw_only=True):
    """The workers that store what the queue brings."""

    batch: Annotated[int, _says("Messages stored in one transaction at most.", ge=1, le=10000)] = 500
    max_attempts: Annotated[
        int, _says("A message that failed this often goes to the dead letters.", ge=1, le=1000)
    ] = 5
    max_clock_skew: Annotated[
        Seconds, _says("Measurements from further in the future are dead letters: somebody's clock is wrong.")
    ] = Seconds(3600)


class Spool(Struct, frozen=True, kw_only=True):
    """What the broker could not take, kept in a file of the state folder until it can."""

    max_bytes: Annotated[
        Bytes,
        _says("How large it may grow, 1MiB at least. Past that the oldest messages are dropped and counted."),
    ] = Bytes(256 * 2**20)
    max_age: Annotated[
        Seconds, _says("Messages that have waited longer are dropped and counted when others are added.")
    ] = Seconds(7 * 86400)


class Log(Struct, frozen=True, kw_only=True):
    """What labmon says on stderr while it works."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], _says("The least important line that is shown.")
    ] = "warning"


class State(Struct, frozen=True, kw_only=True):
    """What labmon itself keeps on this machine."""

    dir: Annotated[
        str,
        _says(
            "The folder of the embedded database, the spool and the known host keys. "
            "Empty: ~/.local/state/labmon, or /var/lib/labmon for root."
        ),
    ] = ""

    @property
    def path(self) -> Path:
        """The folder, not necessarily there yet."""
        if self.dir:
            return Path(self.dir).expanduser().absolute()
        if os.geteuid() == 0:
            return Path("/var/lib/labmon")
        return platformdirs.user_state_path("labmon")


class Config(Struct, frozen=True, kw_only=True):
    """Every table of the file, with its defaults."""

    database: Database = Database()
    queue: Queue = Queue()
    scan: Scan = Scan()
    collect: Collect = Collect()
    consume: Consume = Consume()
    spool: Spool = Spool()
    log: Log = Log()
    state: State = State()


@dataclass(frozen=True)
class Key:
    """One key of the file, as its struct declares it."""

    table: str
    name: str
    type: Any
    default: Any
    comment: str
    secret: bool

    @property
    def path(self) -> str:
        return f"{self.table}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"LABMON_{self.table}_{self.name}".upper()

    def shown(self, value: Any) -> str:
        """The value as the file would write it, with secrets masked."""
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
    if isinstance(value, Seconds | Bytes):
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
                out += [*_wrapped(key.comment), f"{key.name} = {_toml(key.default)}"]
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
    candidates = [Path("config.toml"), user_file(), Path("/etc/labmon/config.toml")]
    return next((path for path in candidates if path.is_file()), None)


def user_file() -> Path:
    """Where the user's own configuration file belongs."""
    return platformdirs.user_config_path("labmon") / "config.toml"


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
    return Loaded(msgspec.convert(tables, Config, dec_hook=_decode_unit), path, sources)


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
    found = {path: (environ[name], name) for name, path in variables.items() if name in environ}
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
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(value, key.type, strict=not as_text, dec_hook=_decode_unit)
    except msgspec.ValidationError as error:
        shown = "" if key.secret else f", not {value!r}"
        reason = str(error).replace("Expected", "expected").replace("`", "").split(" - at")[0]
        near = ""
        options = get_args(get_args(key.type)[0])
        if options and isinstance(value, str):
            near = _nearest(value, [str(o) for o in options])
            reason, shown = f"{value!r} is not one of its values", ""
        raise ConfigError(f"{source}: [{key.table}] {key.name}: {reason}{shown}{near}") from error


def _decode_unit(kind: type, value: Any) -> Any:
    if kind is Seconds or kind is Bytes:
        return value if isinstance(value, kind) else kind.parse(value)
    raise NotImplementedError(kind)
