"""Every key of the configuration: type, default, bounds and comment stand together.

The commented sample file, the environment names and the checks are read off these structs (`settings`).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs
from msgspec import Meta, Struct

from labmon.errors import ConfigError
from labmon.units import Bytes, Seconds, Workers


def _says(
    text: str, *, secret: bool = False, least: float | None = None, example: str = "", **bounds: Any
) -> Meta:
    """The comment of a key. `least` is for durations and amounts, which are no plain numbers to msgspec;
    `example` for tables, which the sample file shows instead of an empty list: last in their table."""
    return Meta(description=text, extra={"secret": secret, "least": least, "example": example}, **bounds)


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
    tls_verify: Annotated[bool, _says("false: encrypt, but check nothing (anyone may listen in).")] = True
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
        int,
        _says(
            "More than this is critical, for the exit code of `labmon queue-depth`. When people are told is "
            "the alert rule queue_backlog's affair.",
            ge=1,
        ),
    ] = 10000

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
            "How often a silent address is asked again at most: once where many have answered at once, more "
            "often where few have, and always where that brings somebody new: then packets get lost.",
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
    names: Annotated[bool, _says("Look up host names: reverse DNS, then NetBIOS and multicast DNS.")] = True
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
    password: Annotated[
        str,
        _says(
            "The password itself; it belongs into a file, or the environment: LABMON_COLLECT_PASSWORD.",
            secret=True,
        ),
    ] = ""
    key_passphrase_file: Annotated[
        str, _says("A file whose first line is the passphrase of the private keys that have one.")
    ] = ""
    key_passphrase: Annotated[str, _says("The passphrase itself; see password.", secret=True)] = ""
    ssh_config: Annotated[
        str,
        _says(
            "Where to look up User, Port, IdentityFile, ProxyJump and HostKeyAlias of a machine. What is set "
            "here wins; nothing in that file is ever run. Empty: nowhere."
        ),
    ] = "~/.ssh/config"
    proxy_jump: Annotated[
        str,
        _says(
            "Bastions on the way to every machine, one after another: [user@]host[:port],... They are logged "
            "in to with a key. Empty: as the ssh_config says."
        ),
    ] = ""
    host_keys: Annotated[
        Literal["accept-new", "strict", "off"],
        _says(
            "accept-new: remember a machine's key at first sight, refuse a changed one. "
            "strict: refuse unknown ones too. off: check nothing (anyone may listen in)."
        ),
    ] = "accept-new"
    known_hosts: Annotated[
        list[str],
        _says("OpenSSH's files that know keys of machines which labmon sees for the first time."),
    ] = msgspec.field(default_factory=lambda: ["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"])
    concurrency: Annotated[int, _says("Machines measured at the same time.", ge=1, le=10000)] = 64
    per_subnet: Annotated[
        int,
        _says(
            "Machines of one /24 (IPv6: /64) that are logged in to at the same moment at most, for the sake "
            "of a firewall that counts new connections, or a bastion's MaxStartups. 0: any number.",
            ge=0,
        ),
    ] = 32
    deadline: Annotated[
        Seconds, _says("Hard limit per machine: connecting, logging in, measuring, reading.", least=1)
    ] = Seconds(20)
    retry_first: Annotated[
        Seconds,
        _says(
            "A machine that failed is left out for so long, and for twice as long each time it fails again."
        ),
    ] = Seconds(60)
    retry_max: Annotated[
        Seconds,
        _says(
            "But never longer than this. It is tried at once when a scan sees it, when its lab is switched "
            "on, and with --retry-all. 0s: every time."
        ),
    ] = Seconds(1800)


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
        Seconds, _says("What is from further in the future is a dead letter: somebody's clock is wrong.")
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


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who is told of alerts, and of which ones. A list without entries excludes nothing."""

    name: QueueName
    url: Annotated[str, Meta(min_length=1)]
    secret: str = ""
    severities: list[Literal["info", "warning", "critical"]] = msgspec.field(default_factory=list)
    departments: list[int] = msgspec.field(default_factory=list)
    labs: list[int] = msgspec.field(default_factory=list)
    resolved: bool = True


class Notify(Struct, frozen=True, kw_only=True):
    """Whom alerts are told to. `labmon consume` does it."""

    group_wait: Annotated[
        Seconds, _says("How long a target's first alert waits for others to be told along with it.")
    ] = Seconds(1)
    group_interval: Annotated[
        Seconds, _says("How soon after one notification a target gets another. Critical ones do not wait.")
    ] = Seconds(30)
    timeout: Annotated[Seconds, _says("How long a webhook or a mail server may take to answer.", least=1)] = (
        Seconds(10)
    )
    retry_for: Annotated[
        Seconds, _says("How long to go on trying to tell a target that cannot be reached.")
    ] = Seconds(86400)
    targets: Annotated[
        list[Target],
        _says(
            "Each target is a table. url: an address of Apprise, such as mailto://user:password@example.edu, "
            "or the http(s) address of a webhook; its secret signs what it is sent. Lists that are empty or "
            "absent exclude nothing; departments, labs: whatever touches a machine there; resolved = false: "
            "told of beginnings only.",
            secret=True,
            example='[[notify.targets]]\nname = "admins"\nurl = "https://hooks.example.edu/labmon"\n'
            'secret = "..."\nseverities = ["warning", "critical"]\ndepartments = [1]\nlabs = [3, 4]',
        ),
    ] = msgspec.field(default_factory=list)


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
    notify: Notify = Notify()
    spool: Spool = Spool()
    log: Log = Log()
    state: State = State()


def home_folder(place: Callable[[str], Path]) -> Path:
    """A folder of the user's, by a function of platformdirs. Raises ConfigError for one without a home."""
    try:
        return place("labmon")
    except RuntimeError as error:
        raise ConfigError("this account has no home folder: set HOME, or LABMON_STATE_DIR") from error
