"""Every parser of bytes that others wrote: what it is fed, and which exceptions are its own."""

import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from pika import BasicProperties, spec

from labmon.brokers.base import Message
from labmon.brokers.rabbitmq import wire
from labmon.brokers.rabbitmq.fast_frames import Properties
from labmon.brokers.redis import entries
from labmon.collect.hostkeys.known_hosts import KnownHosts
from labmon.collect.probe.parse import parse as parse_probe
from labmon.collect.ssh.config import SshConfig
from labmon.config.load import load
from labmon.errors import LabmonError
from labmon.messages import Alert, Metrics, decode, decode_discovery
from labmon.scan.kernel import neighbours6
from labmon.scan.methods.nmap_xml import NmapXml, NotNmap
from labmon.scan.names import netbios, ptr
from labmon.scan.targets.target_set import parse as parse_targets
from labmon.scan.wire.arp_frame import ArpFrames
from labmon.scan.wire.echo import Echo, strip_ip
from labmon.scan.wire.ndp_frame import NdpFrames
from labmon.sinks.spool.spool import Spool

DATA = Path(__file__).parents[1] / "data"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FOLDER = tempfile.TemporaryDirectory(prefix="labmon-fuzz-")
MAC = "02:00:00:00:00:01"


@dataclass(frozen=True)
class Parser:
    """`seeds` are whole inputs, from which others are made; `own` are the exceptions that it may raise."""

    name: str
    run: Callable[[bytes], object]
    seeds: list[bytes] = field(repr=False)
    own: tuple[type[Exception], ...] = ()


def _file(name: str, content: bytes) -> Path:
    path = Path(FOLDER.name) / name
    path.write_bytes(content)
    return path


def _packets(data: bytes) -> None:
    echo = Echo(7, b"token678")
    echo.read(data)
    echo.read_error(data)
    echo.read(strip_ip(data))
    Echo(7, b"token678", ipv6=True).read(data)
    ArpFrames(MAC, "10.0.0.1").read(data)
    NdpFrames(MAC, "fe80::1", "eth0").read(data)


def _names(data: bytes) -> None:
    netbios.read_answer(data)
    ptr.read_answer(data)
    ptr.read_names(data)


def _kernel(data: bytes) -> None:
    neighbours6.read_table(data)


def _bodies(data: bytes) -> None:
    for read in (lambda: decode(Metrics, data), lambda: decode(Alert, data), lambda: decode_discovery(data)):
        with suppress(LabmonError):
            read()


def _amqp(data: bytes) -> None:
    """A header frame's properties as a server passes on what another client wrote."""
    properties = Properties()
    try:
        properties.decode(data)
    except (struct.error, IndexError):
        return  # no server lets half a frame through
    method = spec.Basic.Deliver("c", 1, False, "", "metrics_queue")
    one = wire.IncomingMessage(method, properties, b"{}")
    one.message(high=False)
    one.attempt()
    one.enqueued_at()
    one.dead_letter("metrics_queue")


def _redis(data: bytes) -> None:
    parts = data.split(b"\x00")
    flat = parts[1 : 1 + (len(parts) - 1) // 2 * 2]
    entry_id = b"1764500000000-0"
    entries.message(entry_id, entries.fields(flat), high=False)
    entries.dead_letter(entry_id, flat)


def _spool(data: bytes) -> None:
    path = _file("spool.db", data)
    for leftover in path.parent.glob("spool.db?*"):
        leftover.unlink()
    spool = Spool(path, max_bytes=1 << 20, max_age=3600)
    spool.append("metrics_queue", [Message("1", b"{}", "metrics.collected")])
    spool.status()
    assert spool.count() >= 1


def _ssh_config(data: bytes) -> None:
    SshConfig.load(_file("ssh_config", data)).options("10.0.0.1", "pc-1", user="monitor")


def _known_hosts(data: bytes) -> None:
    known = KnownHosts([_file("known_hosts", data)])
    known.keys(["10.0.0.1", "[10.0.0.1]:2222"])


def _toml(data: bytes) -> None:
    load(_file("config.toml", data), environ={"HOME": "/nonexistent"})


def _nmap(data: bytes) -> None:
    NmapXml(NOON).feed(data)


def _probe(data: bytes) -> None:
    before = None
    with suppress(LabmonError):
        before = parse_probe((DATA / "probe" / "debian-12-bash.txt").read_bytes(), NOON).sample
    parse_probe(data, NOON, before)


def _ranges(data: bytes) -> None:
    parse_targets(data.decode(errors="replace").split()[:4], max_hosts=65536)


def _pack_ip(payload: bytes) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, 1, 0)
    return header + IPv4Address("10.0.0.9").packed + IPv4Address("10.0.0.1").packed + payload


def _amqp_seed() -> bytes:
    table = {
        "labmon-key": "metrics.collected",
        "x-death": [{"queue": "q", "time": NOON, "routing-keys": ["k"]}],
    }
    return b"".join(BasicProperties(headers=table, message_id="1", timestamp=1, priority=1).encode())


PROBES = [
    path.read_bytes() for folder in ("probe", "facts") for path in sorted((DATA / folder).glob("*.txt"))
]
ECHO = Echo(7, b"token678").question(0, 1, 0)
DNS = ptr.question("10.0.0.1", 7)
DNS_ANSWER = (
    b"\x00\x07\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00\x011\x010\x010\x0210\x07in-addr\x04arpa\x00\x00\x0c\x00\x01"
    b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x3c\x00\x0a\x04pc-1\x03edu\x00"
)

PARSERS = [
    Parser("packets", _packets, [ECHO, _pack_ip(ECHO), ArpFrames(MAC, "10.0.0.1").question("10.0.0.2")]),
    Parser("names", _names, [DNS, DNS_ANSWER, netbios.question(7)]),
    Parser("netlink", _kernel, [struct.pack("=IHHII", 20, 28, 2, 1, 0) + b"\0" * 12]),
    Parser("probe output", _probe, PROBES, (LabmonError,)),
    Parser(
        "bodies",
        _bodies,
        [
            b'{"system_id":42,"collected_at":"2025-11-25T10:35:00Z","metrics":{"cpu_percent":45.23}}',
            b'{"scan_id":1,"dept_id":1,"ip_address":"10.0.0.1","discovered_at":"2025-11-25T10:30:00Z"}',
            b'{"system_id":42,"alert_type":"cpu_high","severity":"warning","value":95.5,"threshold":90.0,'
            b'"timestamp":"2025-11-25T10:40:00Z"}',
            b'{"system_id":42,"asked_at":"2025-11-25T10:35:00Z","facts":{"os":"Debian","disks":[{"name":"sda",'
            b'"size_bytes":512}]},"filesystems":[{"mount":"/","total_bytes":9,"used_bytes":4,"used_percent":4}]}',
        ],
    ),
    Parser("amqp properties", _amqp, [_amqp_seed()]),
    Parser("redis entries", _redis, [b"x\0id\x001\0key\0metrics\0body\0{}\0attempt\x003\0entry\x001-0"]),
    Parser("spool file", _spool, [b"SQLite format 3\x00" + b"\0" * 200, b""], (LabmonError,)),
    Parser(
        "ssh_config",
        _ssh_config,
        [
            b'Host pc-* !pc-9\n  Port 2222\n  User "a b"\n  ProxyJump bastion\n',
            b"Match host 10.* exec true\nIdentityFile ~/.ssh/%h\n",
        ],
        (LabmonError,),
    ),
    Parser(
        "known_hosts",
        _known_hosts,
        [
            b"10.0.0.1,pc-1 ssh-ed25519 "
            b"AAAAC3NzaC1lZDI1NTE5AAAAIJ7bDmGgm6Ug5bNkeb1kUMoe3rJcJQW6pGcpgRkSjJnu\n",
            b"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa AAAA\n"
            b"@revoked * ssh-rsa A\n",
        ],
        (LabmonError,),
    ),
    Parser("toml", _toml, [b'[queue]\ntype = "redis"\n[[notify.targets]]\nname = "a"\n'], (LabmonError,)),
    Parser(
        "nmap xml",
        _nmap,
        [
            b'<nmaprun><host><status state="up" reason="syn-ack" reason_ttl="63"/><address addr="10.0.0.1" '
            b'addrtype="ipv4"/><address addr="02:00:00:00:00:01" addrtype="mac"/>'
            b'<hostnames><hostname name="a"/></hostnames><times srtt="12"/></host>'
            b'<taskprogress percent="3.5"/></nmaprun>'
        ],
        (NotNmap, LabmonError),
    ),
    Parser("target ranges", _ranges, [b"10.0.0.0/24 10.0.0.1-9 fe80::1-5 ff02::1%eth0"], (LabmonError,)),
]
