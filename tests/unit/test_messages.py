import json
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.errors import Undecodable
from labmon.messages import (
    BY_NAME,
    MAX_BODY,
    MAX_REASON,
    Alert,
    Discovery,
    Metrics,
    Readings,
    ScanFinished,
    Status,
    SystemStatus,
    decode,
    decode_discovery,
    encode,
    new_scan_id,
    schema,
)

SEED_DISCOVERY = b"""{
  "scan_id": 123,
  "dept_id": 1,
  "ip_address": "10.30.5.10",
  "hostname": "lab-pc-01",
  "mac_address": "00:1B:44:11:3A:B7",
  "discovered_at": "2025-11-25T10:30:00Z",
  "scan_type": "ping"
}"""
SEED_METRICS = b"""{
  "system_id": 42,
  "collected_at": "2025-11-25T10:35:00Z",
  "metrics": {
    "cpu_percent": 45.23,
    "ram_percent": 67.89,
    "disk_percent": 55.12,
    "network_sent_mbps": 12.45,
    "network_recv_mbps": 8.32,
    "gpu_percent": 78.90,
    "uptime_seconds": 345600,
    "logged_in_users": 3
  }
}"""
SEED_ALERT = b"""{
  "system_id": 42,
  "alert_type": "cpu_high",
  "severity": "warning",
  "value": 95.5,
  "threshold": 90.0,
  "timestamp": "2025-11-25T10:40:00Z"
}"""
STATUS = b"""{
  "system_id": 42,
  "status": "refused",
  "since": "2025-11-25T10:00:00Z",
  "checked_at": "2025-11-25T10:35:00Z",
  "error": "refused: nothing listens on that port"
}"""

lines = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f"),
    min_size=1,
    max_size=100,
)
moments = st.datetimes(
    datetime(1970, 1, 2),
    datetime(9000, 1, 1),
    timezones=st.one_of(
        st.just(UTC), st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
    ),
)
ids = st.integers(1, 2**31 - 1)
big = st.integers(0, 2**63 - 1)
numbers = st.floats(-1e19, 1e19)
macs = st.lists(st.integers(0, 255), min_size=6, max_size=6).map(lambda b: ":".join(f"{x:02x}" for x in b))

discoveries = st.builds(
    Discovery,
    scan_id=big,
    dept_id=ids,
    ip_address=st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str).filter(lambda a: "%" not in a),
    hostname=st.none() | lines,
    mac_address=st.none() | macs,
    discovered_at=moments,
    scan_type=lines,
)
finishes = st.builds(
    ScanFinished,
    scan_id=big,
    dept_id=ids,
    scan_type=lines,
    target_range=lines,
    started_at=moments,
    finished_at=moments,
    systems_found=big,
    status=st.sampled_from(["completed", "interrupted"]),
)
statuses = st.builds(
    SystemStatus,
    system_id=ids,
    status=st.sampled_from(get_args(Status)),
    since=moments,
    checked_at=moments,
    error=st.none() | lines,
)
whole = {"uptime_seconds", "logged_in_users", "ram_total_bytes", "disk_total_bytes", "process_count"}
readings = (
    st.fixed_dictionaries(
        {},
        optional={name: big if name in whole else st.floats(0, 100) for name in Readings.__struct_fields__},
    )
    .filter(bool)
    .map(lambda values: Readings(**values))
)
metrics = st.builds(Metrics, system_id=ids, collected_at=moments, metrics=readings)
alerts = st.builds(
    Alert,
    system_id=ids,
    alert_type=lines,
    severity=st.sampled_from(["info", "warning", "critical"]),
    value=numbers,
    threshold=numbers,
    at=moments,
)


@pytest.mark.parametrize(
    "kind, body", [(Discovery, SEED_DISCOVERY), (Metrics, SEED_METRICS), (Alert, SEED_ALERT)]
)
def test_the_bodies_of_the_guide_are_read_and_written_unchanged(kind, body):
    assert json.loads(encode(decode(kind, body))) == json.loads(body)


def test_routing_keys_are_those_of_the_guide():
    assert decode(Discovery, SEED_DISCOVERY).routing_key == "discovery.new"
    assert decode(Metrics, SEED_METRICS).routing_key == "metrics.collected"
    assert decode(Alert, SEED_ALERT).routing_key == "alerts.warning"


def test_what_the_discovery_queue_holds_besides_is_of_its_key():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    told = SystemStatus(system_id=1, status="offline", since=at, checked_at=at)
    assert told.routing_key == "discovery.status"


@given(st.one_of(discoveries, finishes, statuses, metrics, alerts))
def test_what_is_written_is_read_back(message):
    assert decode(type(message), encode(message)) == message


@given(st.one_of(discoveries, finishes, statuses))
def test_the_kinds_of_the_discovery_queue_are_told_apart(message):
    assert decode_discovery(encode(message)) == message


def test_a_discovery_of_another_program_may_have_any_fields_more():
    body = json.loads(SEED_DISCOVERY) | {"checked_at": "now", "system_id": 5, "status": "up", "since": None}
    assert decode_discovery(json.dumps(body).encode()) == decode(Discovery, SEED_DISCOVERY)


jsonlike = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
damaged = st.sampled_from([SEED_DISCOVERY, SEED_METRICS, SEED_ALERT]).flatmap(
    lambda body: st.tuples(st.integers(0, len(body)), st.binary(max_size=8)).map(
        lambda cut: body[: cut[0]] + cut[1] + body[cut[0] + len(cut[1]) :]
    )
)
replaced = st.tuples(
    st.sampled_from([SEED_DISCOVERY, SEED_METRICS, SEED_ALERT]), st.integers(0, 6), jsonlike
).map(
    lambda t: json.dumps(
        {k: t[2] if i == t[1] else v for i, (k, v) in enumerate(json.loads(t[0]).items())}
    ).encode()
)


@given(st.one_of(st.binary(), jsonlike.map(json.dumps).map(str.encode), damaged, replaced))
def test_no_bytes_make_decoding_raise_anything_but_undecodable(body):
    for read in (*(lambda b, k=kind: decode(k, b) for kind in BY_NAME.values()), decode_discovery):
        try:
            read(body)
        except Undecodable as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 12_000, b"\xff\xfe", b"", b"\x00", b"null"])
def test_hostile_bytes_are_undecodable(body):
    for kind in BY_NAME.values():
        with pytest.raises(Undecodable):
            decode(kind, body)
    with pytest.raises(Undecodable):
        decode_discovery(body)


def test_a_body_over_the_limit_is_undecodable():
    with pytest.raises(Undecodable, match="too many"):
        decode(Metrics, SEED_METRICS + b" " * MAX_BODY)


@pytest.mark.parametrize(
    "kind, body, change, named",
    [
        (Metrics, SEED_METRICS, {"system_id": ...}, "system_id"),
        (Metrics, SEED_METRICS, {"system_id": "42"}, "system_id"),
        (Metrics, SEED_METRICS, {"system_id": 0}, "system_id"),
        (Metrics, SEED_METRICS, {"collected_at": "yesterday"}, "collected_at"),
        (Metrics, SEED_METRICS, {"collected_at": "2025-11-25T10:35:00"}, "collected_at"),
        (Metrics, SEED_METRICS, {"collected_at": "0001-01-01T00:00:00Z"}, "collected_at"),
        (Metrics, SEED_METRICS, {"metrics": {"cpu_percent": 100.5}}, "cpu_percent"),
        (Metrics, SEED_METRICS, {"metrics": {"uptime_seconds": -1}}, "uptime_seconds"),
        (Metrics, SEED_METRICS, {"metrics": {"ram_total_bytes": 2**63}}, "ram_total_bytes"),
        (Metrics, SEED_METRICS, {"metrics": {"disk_total_bytes": 2**63}}, "disk_total_bytes"),
        (Metrics, SEED_METRICS, {"metrics": {"disk_total_bytes": -1}}, "disk_total_bytes"),
        (Metrics, SEED_METRICS, {"metrics": {"load1": 1e300}}, "load1"),
        (Metrics, SEED_METRICS, {"metrics": {}}, "metrics"),
        (Metrics, SEED_METRICS, {"metrics": {"cpu_percent": None, "else": 1}}, "metrics"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "10.30.5.256"}, "`ip_address`: '10.30.5.256'"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "A" * 60_000}, "`ip_address`: 'A+"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "fe80::1%eth0"}, "ip_address"),
        (Discovery, SEED_DISCOVERY, {"mac_address": "00:1B"}, "mac_address"),
        (Discovery, SEED_DISCOVERY, {"hostname": "a\x00b"}, "hostname"),
        (Discovery, SEED_DISCOVERY, {"hostname": "a\x1b[31m"}, "hostname"),
        (Alert, SEED_ALERT, {"severity": "panic"}, "severity"),
        (Alert, SEED_ALERT, {"severity": "a" * 60_000}, r"'a+\[\.\.\.\]a+' - at `\$.severity`"),
        (Alert, SEED_ALERT, {"since": "0001-01-01T00:00:00+14:00"}, "since"),
        (SystemStatus, STATUS, {"status": "maintenance"}, "status"),
        (SystemStatus, STATUS, {"checked_at": "2025-11-25"}, "checked_at"),
        (SystemStatus, STATUS, {"since": "9999-01-01T00:00:00Z"}, "since"),
        (SystemStatus, STATUS, {"error": "a\nb"}, "error"),
        (Alert, SEED_ALERT, {"timestamp": ...}, "timestamp"),
    ],
)
def test_a_wrong_field_is_named(kind, body, change, named):
    fields = json.loads(body) | change
    body = json.dumps({key: value for key, value in fields.items() if value is not ...}).encode()
    with pytest.raises(Undecodable, match=named) as told:
        decode(kind, body)
    assert len(str(told.value)) < MAX_REASON + 50


@pytest.mark.parametrize("name", Readings.__struct_fields__)
def test_any_one_metric_is_enough_and_the_others_may_be_null(name):
    values = dict.fromkeys(Readings.__struct_fields__) | {name: 1, "made_up": "ignored"}
    body = json.dumps({"system_id": 1, "collected_at": "2025-11-25T10:35:00Z", "metrics": values})
    assert getattr(decode(Metrics, body.encode()).metrics, name) == 1


def test_absent_readings_are_not_written():
    one = Metrics(system_id=1, collected_at=datetime(2025, 1, 1, tzinfo=UTC), metrics=Readings(load1=0.5))
    assert json.loads(encode(one))["metrics"] == {"load1": 0.5}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_schema_is_valid_and_knows_every_field(name):
    described = schema(BY_NAME[name])
    jsonschema.Draft202012Validator.check_schema(described)
    fields = {field.encode_name for field in msgspec.structs.fields(BY_NAME[name])}
    assert set(described["$defs"][BY_NAME[name].__name__]["properties"]) == fields


@pytest.mark.parametrize(
    "body, name", [(SEED_DISCOVERY, "discovery"), (SEED_METRICS, "metrics"), (SEED_ALERT, "alert")]
)
def test_the_guide_s_bodies_satisfy_the_schemas(body, name):
    jsonschema.validate(json.loads(body), schema(BY_NAME[name]))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema(BY_NAME[name]))


def test_scan_ids_fit_a_bigint_and_carry_the_time():
    now = datetime.now(UTC).timestamp() * 1000
    assert abs(new_scan_id() // 1000 - now) < 5000
    assert new_scan_id() < 2**63
