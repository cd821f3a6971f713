"""The messages of the pipeline, and their JSON.

`Discovery`, `Metrics` and `Alert` have exactly the bodies of the message guide; any program may send
them. `ScanFinished` closes a scan, `SystemStatus` says how a machine fares, `Facts` what it is. Unknown
fields are ignored, so a newer sender does no harm; a missing or wrong one raises `Undecodable` with the
field's path.
"""

import random
import time
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from labmon import unusual_json
from labmon.address import fault
from labmon.errors import Undecodable
from labmon.facts import Facts as Facts
from labmon.message_fields import LINE as LINE
from labmon.message_fields import SMALLEST as SMALLEST
from labmon.message_fields import Amount, BigId, Celsius, Count, Mac, Moment, Percent, settle_moments
from labmon.message_fields import Id as Id
from labmon.message_fields import Line as Line

MAX_BODY = 64 * 1024
"""Bytes. Ours are under 1 KB; the limit keeps a runaway sender out of the database."""

KEY_CHANGED = "host_key_changed"
"""The alert that a machine shows another host key: a fact, whose value and threshold mean nothing."""

MAX_RANGE = 16_384
"""Characters of a `target_range`: some 500 ranges."""

OURSELVES = 0
"""The `system_id` of an alert that is about labmon, or about many machines, not about one."""
MAX_COVERS = 100
"""Names in one alert."""
Severity = Literal["info", "warning", "critical"]

Status = Literal[
    "active",  # it was measured
    "offline",  # nothing at its address answers: switched off, or a firewall swallows everything
    "unreachable",  # the network says that there is no way to it, which says nothing about the machine
    "refused",  # it is there, and nothing listens on its SSH port
    "auth failed",  # it is there, and lets us in with none of our keys and passwords
    "timed out",  # it is there, and did not finish within the deadline
    "failed",  # it is there, and something else went wrong: the error begins with what
]


MAX_REASON = 400
"""Characters of what is said about an unreadable message, which may quote it."""


def _check_address(text: str) -> None:
    try:
        found = fault(text)
    except ValueError as error:
        raise ValueError(f"`ip_address`: {error}") from error
    if found:
        raise ValueError(f"`ip_address` {text} {found}")


class Discovery(Struct, frozen=True, kw_only=True):
    """A host that answered a scan. Routing key `discovery.new`."""

    scan_id: BigId
    dept_id: Id
    ip_address: str
    hostname: Line | None = None
    mac_address: Mac | None = None
    discovered_at: Moment
    scan_type: Line
    new_as: Literal["quarantine"] | msgspec.UnsetType = msgspec.UNSET
    """With it a machine that is new waits until somebody lets it in, whatever its department says."""

    def __post_init__(self) -> None:
        _check_address(self.ip_address)
        settle_moments(self)

    @property
    def moments(self) -> dict[str, datetime]:
        """Its times, by the names of their fields. The same for the other kinds."""
        return {"discovered_at": self.discovered_at}

    @property
    def routing_key(self) -> str:
        return "discovery.new"


class ScanFinished(Struct, frozen=True, kw_only=True):
    """The end of a scan. Routing key `discovery.finished`, after the last `Discovery` with its `scan_id`."""

    scan_id: BigId
    dept_id: Id
    scan_type: Line
    target_range: Annotated[str, Meta(min_length=1, max_length=MAX_RANGE, pattern=r"^[^\x00-\x1f\x7f]+$")]
    started_at: Moment
    finished_at: Moment
    systems_found: Count
    status: Literal["completed", "interrupted", "incomplete"]
    """Only after "completed" is a machine gone that did not answer. "incomplete": the scan ran to its end,
    but packets were lost, so machines may have been missed."""
    errors: Count = 0
    """Addresses that the scanning machine could not send to."""

    def __post_init__(self) -> None:
        settle_moments(self)

    @property
    def moments(self) -> dict[str, datetime]:
        return {"started_at": self.started_at, "finished_at": self.finished_at}

    @property
    def routing_key(self) -> str:
        return "discovery.finished"


class SystemStatus(Struct, frozen=True, kw_only=True):
    """What came of trying to measure a machine, sent when that has changed. Routing key `discovery.status`.

    `checked_at`, by the clock of the machine that tried, decides which of two is newer; `since`
    is when it began to be so.
    """

    system_id: Id
    status: Status
    since: Moment
    checked_at: Moment
    error: Line | None = None

    def __post_init__(self) -> None:
        settle_moments(self)

    @property
    def moments(self) -> dict[str, datetime]:
        return {"since": self.since, "checked_at": self.checked_at}

    @property
    def routing_key(self) -> str:
        return "discovery.status"


class Readings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one look at a machine gave. Units are in the names; `mbps` is 10^6 bits per second for the
    network and 10^6 bytes per second for disks, as in the scripts whose data this continues. Rates are
    per second over the sampling interval."""

    cpu_percent: Percent | None = None
    ram_percent: Percent | None = None
    disk_percent: Percent | None = None
    network_sent_mbps: Amount | None = None
    network_recv_mbps: Amount | None = None
    gpu_percent: Percent | None = None
    uptime_seconds: Count | None = None
    logged_in_users: Count | None = None
    cpu_iowait_percent: Percent | None = None
    cpu_temperature_celsius: Celsius | None = None
    load1: Amount | None = None
    ram_total_bytes: Count | None = None
    disk_total_bytes: Count | None = None
    swap_percent: Percent | None = None
    swap_in_rate: Amount | None = None
    swap_out_rate: Amount | None = None
    disk_read_mbps: Amount | None = None
    disk_write_mbps: Amount | None = None
    gpu_memory_percent: Percent | None = None
    gpu_temperature_celsius: Celsius | None = None
    context_switch_rate: Amount | None = None
    major_page_fault_rate: Amount | None = None
    process_count: Count | None = None
    gpu_count: Count | None = None

    def __post_init__(self) -> None:
        values = msgspec.structs.astuple(self)
        if values.count(None) == len(values):
            raise ValueError("no known metric with a value")


class Metrics(Struct, frozen=True, kw_only=True):
    """One machine's readings. `collected_at` is the target's reading time, set once and never moved by a
    retry: with `system_id` it is what makes a repeat harmless. Routing key `metrics.collected`."""

    system_id: Id
    collected_at: Moment
    metrics: Readings

    def __post_init__(self) -> None:
        settle_moments(self)

    @property
    def moments(self) -> dict[str, datetime]:
        return {"collected_at": self.collected_at}

    @property
    def routing_key(self) -> str:
        return "metrics.collected"


class Alert(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that somebody should know. Routing key `alerts.{severity}`.

    The first six fields are the guide's; labmon's own rules add others, which a reader may ignore.
    """

    system_id: Annotated[int, Meta(ge=OURSELVES, le=2**31 - 1)]
    alert_type: Line
    severity: Severity
    value: Annotated[float, Meta(ge=-1e19, le=1e19)]  # whatever a metric may be, a Count too
    threshold: Annotated[float, Meta(ge=-1e19, le=1e19)]
    at: Moment = field(name="timestamp")
    state: Literal["firing", "resolved"] = "firing"
    alert_id: BigId | None = None
    """Of the incident: its firing, its repeats and its end have the same."""
    rule: Line | None = None
    since: Moment | None = None
    """When it began to fire; `timestamp` is when this was so: fired, repeated, resolved."""
    note: Line | None = None
    """The rule's: what to do about it."""
    subject: Line | None = None
    """What it is about where that is no system: a lab, a network, a queue."""
    dept_id: Id | None = None
    lab_id: Id | None = None
    covers: Annotated[list[Line], Meta(max_length=MAX_COVERS)] | None = None
    """Names of the systems that it stands for, not all where there are very many: see `covered`."""
    covered: Count | None = None
    repeat: Count = 0
    """0: the first notification. n: notified n times before, and it is still firing."""
    reason: Line | None = None
    """Why the notification is late, or why the alert is over."""
    kind: Line | None = None
    """Of the rule; with `metric` it says in which unit value and threshold are."""
    metric: Line | None = None
    mount: Line | None = None
    """The file system that it is about."""

    def __post_init__(self) -> None:
        settle_moments(self)

    @property
    def moments(self) -> dict[str, datetime]:
        return {"timestamp": self.at} | ({"since": self.since} if self.since else {})

    @property
    def routing_key(self) -> str:
        return f"alerts.{self.severity}"


AnyMessage = Discovery | ScanFinished | SystemStatus | Facts | Metrics | Alert
BY_NAME: dict[str, type[AnyMessage]] = {
    "discovery": Discovery,
    "scan-finished": ScanFinished,
    "system-status": SystemStatus,
    "facts": Facts,
    "metrics": Metrics,
    "alert": Alert,
}

M = TypeVar("M", Discovery, ScanFinished, SystemStatus, Facts, Metrics, Alert)

_encoder = msgspec.json.Encoder()


@cache
def _decoder(kind: type[M]) -> msgspec.json.Decoder[M]:
    return msgspec.json.Decoder(kind)


class _Marks(Struct):
    """The fields that tell the kinds of the discovery queue apart."""

    scan_id: msgspec.Raw = msgspec.Raw()
    finished_at: msgspec.Raw = msgspec.Raw()
    checked_at: msgspec.Raw = msgspec.Raw()
    asked_at: msgspec.Raw = msgspec.Raw()


def encode(message: AnyMessage) -> bytes:
    """The JSON body: UTF-8, no spaces, times in UTC ending in Z."""
    return _encoder.encode(message)


def decode(kind: type[M], body: bytes) -> M:
    """Read a body, checking every field. Raises `Undecodable`, and nothing else, for any bytes at all."""
    if len(body) > MAX_BODY:
        raise too_large(body)
    try:
        try:
            message: M = _decoder(kind).decode(body)
        except msgspec.ValidationError as error:
            message = _second_reading(kind, body, error)
    except msgspec.ValidationError as error:
        raise Undecodable(_shortened(str(error))) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Undecodable(f"not JSON: {_shortened(unusual_json.culprit(body) or str(error))}") from error
    if isinstance(message, Alert) and (name := too_small(message)):
        raise Undecodable(too_small_reason(name))
    return message


def too_large(body: bytes) -> Undecodable:
    """Why a body is rejected unread."""
    return Undecodable(f"{len(body)} bytes are too many for a message; the limit is {MAX_BODY}")


def too_small(values: Struct) -> str:
    """The first number that a `real` column cannot hold since it is too near to 0; "" when there is none.

    `decode` looks for them in alerts only. In readings, where nearly none has any and the look would cost
    more than all other checks, the database finds them, and this says which.
    """
    for name in values.__struct_fields__:
        value = getattr(values, name)
        if isinstance(value, float) and 0 < abs(value) < SMALLEST:
            return name
    return ""


def too_small_reason(name: str) -> str:
    """Why such a number is rejected. Without the value, so that a batch of these is rejected for one
    reason."""
    return f"`{name}` is nearer to 0 than 1.4e-45, which cannot be stored; send 0"


def _second_reading(kind: type[M], body: bytes, error: msgspec.ValidationError) -> M:
    """What the JSON Schema allows and the decoder does not. Raises ValidationError: the first one, or a
    truer."""
    try:
        fields = msgspec.json.decode(body)
    except msgspec.ValidationError:
        raise error from None
    return msgspec.convert(unusual_json.as_schema_reads(fields), kind)


def _shortened(text: str) -> str:
    """Without the middle, which quotes the sender: the field is named at the end."""
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON // 2]}[...]{text[-MAX_REASON // 2 :]}"


def decode_discovery(body: bytes) -> Discovery | ScanFinished | SystemStatus | Facts:
    """Read a body of the discovery queue, which holds four kinds.

    Told apart by their fields and not by a header, since other senders set no headers: `finished_at` is of
    the end of a scan only; `checked_at`, without a scan, of a status; so is `asked_at` of facts. Raises
    `Undecodable`.
    """
    if len(body) > MAX_BODY:
        raise too_large(body)
    try:
        marks = msgspec.json.decode(body, type=_Marks)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        marks = _Marks()
    if bytes(marks.finished_at):
        return decode(ScanFinished, body)
    if bytes(marks.checked_at) and not bytes(marks.scan_id):
        return decode(SystemStatus, body)
    if bytes(marks.asked_at) and not bytes(marks.scan_id):
        return decode(Facts, body)
    return decode(Discovery, body)


def schema(kind: type[AnyMessage]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a message, for senders in other languages."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}


def new_scan_id() -> int:
    """Milliseconds since the epoch x 1000 + 0..999: unique enough for one campus, with no database."""
    return time.time_ns() // 1_000_000 * 1000 + random.randrange(1000)


def utcnow() -> datetime:
    """Now, with the zone set, which every `Moment` needs."""
    return datetime.now(UTC)
