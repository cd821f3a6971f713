import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
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
    too_small,
)

DATA = Path(__file__).parents[1] / "data"

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
numbers = st.floats(-(2.0**63), 2.0**63, width=32)
macs = st.lists(st.integers(0, 255), min_size=6, max_size=6).map(lambda b: ":".join(f"{x:02x}" for x in b))

discoveries = st.builds(
    Discovery,
    scan_id=big,
    dept_id=ids,
    ip_address=st.ip_addresses(network="1.0.0.0/8").map(str) | st.ip_addresses(network="2000::/3").map(str),
    hostname=st.none() | lines,
    mac_address=st.none() | macs,
    discovered_at=moments,
    scan_type=lines,
    new_as=st.just(msgspec.UNSET) | st.just("quarantine"),
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
whole |= {"gpu_count"}
readings = (
    st.fixed_dictionaries(
        {},
        optional={
            name: big if name in whole else st.floats(0, 100, width=32) for name in Readings.__struct_fields__
        },
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
        (Discovery, SEED_DISCOVERY, {"ip_address": "fe80::1"}, "link-local"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "::ffff:127.9.0.1"}, "write 127.9.0.1"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "::FFFF:7f09:1"}, "write 127.9.0.1"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "0.0.0.0"}, "ip_address"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "0.1.2.3"}, "ip_address"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "255.255.255.255"}, "ip_address"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "224.0.0.1"}, "ip_address"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "::"}, "ip_address"),
        (Discovery, SEED_DISCOVERY, {"ip_address": "ff02::1"}, "ip_address"),
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


def with_metrics(**values):
    fields = json.loads(SEED_METRICS) | {"metrics": values}
    return json.dumps(fields).encode()


# Numbers that the columns cannot hold (findings B6, D4)


@pytest.mark.parametrize(
    "name, value", [("cpu_percent", 1e-46), ("load1", 5e-324), ("swap_in_rate", 1.3e-45)]
)
def test_a_reading_nearer_to_0_than_a_column_holds_is_found(name, value):
    body = with_metrics(**{name: value, "gpu_percent": 0, "cpu_temperature_celsius": -3})
    assert too_small(decode(Metrics, body).metrics) == name


@pytest.mark.parametrize("name", ["value", "threshold"])
@pytest.mark.parametrize("value", [1e-46, -1e-320, 3.5e38, -1e300])
def test_an_alert_s_number_out_of_bounds_is_named(name, value):
    with pytest.raises(Undecodable, match=name):
        decode(Alert, json.dumps(json.loads(SEED_ALERT) | {name: value}).encode())


@pytest.mark.parametrize("value", [0, -0.0, 1.5e-45, 2.0**-149, 1e-40, 100])
def test_the_smallest_numbers_that_a_column_holds_are_taken(value):
    readings = decode(Metrics, with_metrics(cpu_percent=value)).metrics
    assert (readings.cpu_percent, too_small(readings)) == (value, "")


@pytest.mark.parametrize("name", ["cpu_percent", "load1", "uptime_seconds"])
def test_a_number_out_of_all_bounds_is_named(name):
    with pytest.raises(Undecodable, match=name):
        decode(Metrics, with_metrics(**{name: 7}).replace(b"7", b"1e400"))


# What the schema allows (findings C10, E7)


@pytest.mark.parametrize("body", (DATA / "whole-numbers-as-floats.jsonl").read_bytes().splitlines())
def test_a_whole_number_may_be_written_with_a_point(body):
    jsonschema.validate(json.loads(body), schema(Metrics))
    one = decode(Metrics, body)
    assert (type(one.system_id), one.system_id) == (int, 1)
    assert one.metrics.uptime_seconds in (5, None)
    assert encode(one) == encode(decode(Metrics, encode(one)))


@pytest.mark.parametrize(
    "kind, body, change",
    [
        (Alert, SEED_ALERT, {"system_id": 42.0, "repeat": 3.0, "covers": ["a"]}),
        (Discovery, SEED_DISCOVERY, {"scan_id": 1e3, "dept_id": 5.0}),
        (SystemStatus, STATUS, {"system_id": 7e0, "more": {"a": {"b": {"c": 1.0}}}}),
    ],
)
def test_a_whole_number_with_a_point_is_taken_in_every_kind(kind, body, change):
    changed = json.loads(body) | change
    jsonschema.validate(changed, schema(kind))
    decode(kind, json.dumps(changed).encode())


@pytest.mark.parametrize("system_id", [1.5, 3e9, 1e300, -1.0, 0.0, True, "1"])
def test_what_is_no_whole_number_in_bounds_is_still_named(system_id):
    with pytest.raises(Undecodable, match="system_id"):
        decode(Metrics, json.dumps(json.loads(SEED_METRICS) | {"system_id": system_id}).encode())


def test_of_two_deviations_the_one_that_is_wrong_is_named():
    with pytest.raises(Undecodable, match="cpu_percent"):
        decode(Metrics, with_metrics(uptime_seconds=5.0, cpu_percent=101))


@pytest.mark.parametrize(
    "text, second",
    [
        ("2016-12-31T23:59:60Z", 59),
        ("2017-01-01T00:59:60.25+01:00", 59),
        ("2016-12-31T23:59:59Z", 59),
        ("2016-12-31t23:59:60z", 59),
    ],
)
def test_a_leap_second_is_the_end_of_the_second_before_it(text, second):
    at = decode(Metrics, json.dumps(json.loads(SEED_METRICS) | {"collected_at": text}).encode()).collected_at
    assert at.astimezone(UTC).strftime("%F %T") == f"2016-12-31 23:59:{second}"


@pytest.mark.parametrize(
    "text", ["2016-12-31T23:58:60Z", "2016-12-31T22:59:60Z", "2016-13-31T23:59:60Z", "2016-12-31T23:59:61Z"]
)
def test_no_other_minute_has_a_60th_second(text):
    with pytest.raises(Undecodable, match="collected_at"):
        decode(Metrics, json.dumps(json.loads(SEED_METRICS) | {"collected_at": text}).encode())


# What is no JSON (findings D15)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_no_number_for_is_named(value):
    body = with_metrics(load1=5, cpu_percent=7).replace(b"7", value.encode())
    with pytest.raises(
        Undecodable, match=r"not JSON: -?(nan|inf) is no number - at `\$\.metrics\.cpu_percent`"
    ):
        decode(Metrics, body)


@pytest.mark.parametrize("text", [rb"\ud800", rb"a\udc00b", rb"\udfff\ud800"])
def test_half_of_a_surrogate_pair_is_named(text):
    body = json.dumps(json.loads(SEED_DISCOVERY) | {"hostname": "HERE"}).encode().replace(b"HERE", text)
    for read in (lambda: decode(Discovery, body), lambda: decode_discovery(body)):
        with pytest.raises(Undecodable, match=r"half of a surrogate pair - at `\$\.hostname`"):
            read()


@pytest.mark.parametrize("text", [b"\xff", b"caf\xe9", b"\xed\xa0\x80"])
def test_text_in_another_encoding_is_named(text):
    body = json.dumps(json.loads(SEED_ALERT) | {"note": "HERE"}).encode().replace(b"HERE", text)
    with pytest.raises(Undecodable, match=r"no UTF-8 - at `\$\.note`"):
        decode(Alert, body)


def test_the_path_of_a_value_brings_nothing_to_a_terminal():
    key = "\x1b[31m" * 3
    body = json.dumps({key: [1, {"x": "HERE"}]}).encode().replace(b"HERE", rb"\ud800")
    with pytest.raises(Undecodable) as caught:
        decode(Metrics, body)
    assert "\x1b" not in str(caught.value)
    assert str(caught.value).endswith("[1].x`")


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


# findings D6
def test_a_scan_that_may_have_missed_machines_is_a_message_of_its_own_kind():
    at = "2026-01-02T03:04:05Z"
    body = {"scan_id": 1, "dept_id": 1, "scan_type": "ping", "target_range": "10.0.0.1", "systems_found": 0}
    body |= {"started_at": at, "finished_at": at}
    for status in ("completed", "interrupted", "incomplete"):
        assert decode_discovery(json.dumps(body | {"status": status}).encode()).status == status
    with pytest.raises(Undecodable, match="status"):
        decode_discovery(json.dumps(body | {"status": "lossy"}).encode())


@pytest.mark.parametrize("address", ["8.8.8.8", "127.9.0.1", "169.254.3.4", "2001:db8::7", "fd00:5::1"])
def test_an_address_that_a_machine_can_have_is_taken(address):
    body = json.dumps(json.loads(SEED_DISCOVERY) | {"ip_address": address}).encode()
    assert decode(Discovery, body).ip_address == address


@pytest.mark.parametrize(
    "text, utc",
    [
        ("2026-11-30T20:00:05+23:59", "2026-11-29T20:01:05+00:00"),
        ("2026-11-30T20:00:05-23:59", "2026-12-01T19:59:05+00:00"),
        ("2026-11-30T20:00:05.25+05:45", "2026-11-30T14:15:05.250000+00:00"),
    ],
)
@pytest.mark.parametrize(
    "kind, seed, names",
    [
        (Metrics, SEED_METRICS, ["collected_at"]),
        (Discovery, SEED_DISCOVERY, ["discovered_at"]),
        (Alert, SEED_ALERT, ["timestamp", "since"]),
        (SystemStatus, b'{"system_id": 42, "status": "offline"}', ["since", "checked_at"]),
    ],
)
def test_times_are_in_utc_whatever_their_offset(kind, seed, names, text, utc):
    body = json.dumps(json.loads(seed) | dict.fromkeys(names, text)).encode()
    found = decode(kind, body).moments
    assert {name: moment.isoformat() for name, moment in found.items()} == dict.fromkeys(names, utc)
    assert all(moment.tzinfo is UTC for moment in found.values())


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_a_time_that_cannot_be_in_utc_is_undecodable(text):
    body = json.dumps(json.loads(SEED_METRICS) | {"collected_at": text}).encode()
    with pytest.raises(Undecodable, match="`collected_at` is no time in UTC"):
        decode(Metrics, body)


def test_a_discovery_asks_for_quarantine_or_says_nothing_of_it():
    found = decode(Discovery, SEED_DISCOVERY)
    assert "new_as" not in json.loads(encode(found))
    asked = msgspec.structs.replace(found, new_as="quarantine")
    assert decode(Discovery, encode(asked)) == asked
    with pytest.raises(Undecodable, match="new_as"):
        decode(Discovery, encode(asked).replace(b'"quarantine"', b'"active"'))
