"""Every key of the configuration: type, default, bounds and comment stand together.

The commented sample file, the environment names and the checks are read off these structs (`settings`).
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs
from msgspec import Meta, Struct

from labmon.errors import ConfigError


class Seconds(float):
    """A duration. Written as a number of seconds or as "250ms", "30s", "5m", "24h", "7d"."""

    UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    LONGEST = 3650 * 86400.0  # what is waited for in C does not overflow

    @classmethod
    def parse(cls, value: object) -> "Seconds":
        """Raises ValueError for what is no duration, negative ones included."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", str(value).strip())
        if isinstance(value, bool) or not match:
            raise ValueError('expected a duration such as "30s", "5m", "24h" or "7d"')
        seconds = float(match[1]) * cls.UNITS[match[2] or "s"]
        if seconds > cls.LONGEST:
            raise ValueError("expected a duration of ten years at most")
        return cls(seconds)

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


class Workers(str):
    """How many worker processes: "4", or "1..8" for as many as are needed within these bounds."""

    MOST = 256

    @classmethod
    def parse(cls, value: object) -> "Workers":
        """Raises ValueError for what is no number and no range."""
        match = re.fullmatch(r"(\d{1,4})(?:\.\.(\d{1,4}))?", str(value).strip(), re.ASCII)
        least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or isinstance(value, bool) or not 1 <= least <= most <= cls.MOST:
            raise ValueError(f'expected a number of workers such as "4" or "1..8", of {cls.MOST} at most')
        return cls(match[0])

    @property
    def least(self) -> int:
        """As many there always are."""
        return int(self.partition("..")[0])

    @property
    def most(self) -> int:
        """And no more than these."""
        return int(self.rpartition("..")[2])


def _says(text: str, *, secret: bool = False, least: float | None = None, **bounds: Any) -> Meta:
    """The comment of a key. `least` is for durations and amounts, which are no plain numbers to msgspec."""
    return Meta(description=text, extra={"secret": secret, "least": least}, **bounds)


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
    connect_timeout: Annotated[Seconds, _says("How long to wait for the server to answer.", least=1)] = (
        Seconds(10)
    )
    timescale: Annotated[
        Literal["off", "auto"],
        _says(
            "auto, experimental: where the database has TimescaleDB and no readings yet, labmon db migrate "
            "makes a hypertable of them, with its compression and retention."
        ),
    ] = "off"


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
            "messages in flight. Empty: do without.",
            secret=True,
        ),
    ] = ""
    discovery_queue: Annotated[QueueName, _says("What scans find.")] = "discovery_queue"
    metrics_queue: Annotated[QueueName, _says("What collecting measures.")] = "metrics_queue"
    alert_queue: Annotated[QueueName, _says("What somebody should be told.")] = "alert_queue"
    lease: Annotated[
        Seconds,
        _says(
            "How long a worker may hold a message before another may take it. Longer than any batch.",
            least=1,
        ),
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
        Seconds, _says("Hard limit per machine: connecting, logging in, measuring, reading.", least=1)
    ] = Seconds(20)


class Consume(Struct, frozen=True, kw_only=True):
    """The workers that store what the queue brings."""

    workers: Annotated[
        Workers,
        _says(
            'Worker processes, such as "4", or "1..8": then one more is started for a queue that stays over '
            "[queue] depth_warning. 1: this process alone, with nobody to watch over it."
        ),
    ] = Workers("1")
    batch: Annotated[int, _says("Messages stored in one transaction at most.", ge=1, le=10000)] = 500
    flush: Annotated[
        Seconds, _says("How long a message may wait for others to fill its batch. 0s: not at all.")
    ] = Seconds(0.1)
    max_attempts: Annotated[
        int, _says("A message that failed this often goes to the dead letters.", ge=1, le=1000)
    ] = 5
    max_clock_skew: Annotated[
        Seconds, _says("Measurements from further in the future are dead letters: somebody's clock is wrong.")
    ] = Seconds(3600)
    scale_up_after: Annotated[
        Seconds, _says("How long a queue must stay over [queue] depth_warning before it gets another worker.")
    ] = Seconds(15)
    scale_down_after: Annotated[
        Seconds, _says("How long it must stay under half of that before it loses one again.")
    ] = Seconds(300)
    stuck_after: Annotated[
        Seconds,
        _says(
            "A worker process that says nothing for so long is killed and replaced. One that is busy, or "
            "waits for a database, says so every second.",
            least=3,
        ),
    ] = Seconds(15)
    max_memory: Annotated[
        Bytes,
        _says("A worker process that holds more is replaced after its batch, such as 200MiB. 0: never."),
    ] = Bytes(0)
    grace: Annotated[
        Seconds,
        _says(
            "How long SIGTERM and Ctrl-C wait for the batches in hand. What is not done by then stays in the "
            "queue."
        ),
    ] = Seconds(30)


class Events(Struct, frozen=True, kw_only=True):
    """Every accepted message as it came, to look at and to replay."""

    keep: Annotated[Seconds, _says("How long. Whole days are dropped. 0s: nothing is kept.")] = Seconds(
        7 * 86400
    )


class Retention(Struct, frozen=True, kw_only=True):
    """How long things are kept. They are dropped by whole days, months or years; 0s: kept for ever."""

    raw: Annotated[
        Seconds,
        _says(
            "Readings as they were measured, once they are summed up. Those that arrive later than this are "
            "dead letters."
        ),
    ] = Seconds(1825 * 86400)
    pack_after: Annotated[
        Seconds,
        _says(
            "Days that ended so long ago are packed: an eighth of the size, read through the same view. "
            "0s: never.",
        ),
    ] = Seconds(7 * 86400)
    rollup_5m: Annotated[Seconds, _says("Summaries of 5 minutes.")] = Seconds(90 * 86400)
    rollup_1h: Annotated[Seconds, _says("Summaries of an hour. No shorter than raw.")] = Seconds(1825 * 86400)
    rollup_1d: Annotated[Seconds, _says("Summaries of a day. No shorter than those of an hour.")] = Seconds(0)
    history: Annotated[Seconds, _says("What happened to machines: found, moved, gone.")] = Seconds(
        1825 * 86400
    )
    alerts: Annotated[Seconds, _says("Alerts.")] = Seconds(1825 * 86400)


class Spool(Struct, frozen=True, kw_only=True):
    """What the broker could not take, kept in a file of the state folder until it can."""

    max_bytes: Annotated[
        Bytes,
        _says(
            "How large it may grow, 1MiB at least. Past that the oldest messages are dropped and counted.",
            least=2**20,
        ),
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
        return home_folder(platformdirs.user_state_path)


class Config(Struct, frozen=True, kw_only=True):
    """Every table of the file, with its defaults."""

    database: Database = Database()
    queue: Queue = Queue()
    scan: Scan = Scan()
    collect: Collect = Collect()
    consume: Consume = Consume()
    events: Events = Events()
    retention: Retention = Retention()
    spool: Spool = Spool()
    log: Log = Log()
    state: State = State()


def home_folder(place: Callable[[str], Path]) -> Path:
    """A folder of the user's, by a function of platformdirs. Raises ConfigError for one without a home."""
    try:
        return place("labmon")
    except RuntimeError as error:
        raise ConfigError("this account has no home folder: set HOME, or LABMON_STATE_DIR") from error
