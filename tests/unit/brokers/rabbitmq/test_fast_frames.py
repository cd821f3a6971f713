"""The short way for deliveries beside pika's own: whatever comes, in whatever pieces, both give the same."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec
from pika.adapters.base_connection import BaseConnection
from pika.adapters.select_connection import SelectConnection
from pika.callback import CallbackManager
from pika.channel import Channel
from pika.connection import Connection
from pika.exceptions import InvalidFrameError

import labmon.brokers
from labmon.brokers.rabbitmq.fast_frames import LARGEST_HEADERS, FastConnection, Properties


class Offline:
    """Comes before a connection of pika's, and keeps it from connecting."""

    def __init__(self):
        self.callbacks = CallbackManager()
        self._frame_buffer = b""
        self._heartbeat_checker = None
        self.bytes_received = self.frames_received = 0
        self.handed = []
        self._channels = {number: Channel(self, number, print) for number in (1, 2)}
        for channel in self._channels.values():
            channel._consumers = {"tag": self.take}

    def take(self, channel, method, properties, body):
        fields = (method.delivery_tag, method.redelivered, method.exchange, method.routing_key)
        self.handed.append((channel.channel_number, *fields, properties.message_id, properties.headers, body))


class Ours(Offline, FastConnection):
    pass


class Pikas(Offline, SelectConnection):
    pass


def delivery(number, tag, redelivered, key, properties, body, largest):
    """One message as frames."""
    deliver = spec.Basic.Deliver("tag", tag, redelivered, "labmon", key)
    parts = [body[n : n + largest] for n in range(0, len(body), largest)]
    return b"".join(
        one.marshal()
        for one in [
            frame.Method(number, deliver),
            frame.Header(number, len(body), properties),
            *(frame.Body(number, part) for part in parts),
        ]
    )


properties = st.builds(
    spec.BasicProperties,
    message_id=st.text("abc", max_size=5),
    headers=st.dictionaries(st.sampled_from(["one", "two"]), st.integers(0, 9) | st.text(max_size=3)),
)
deliveries = st.builds(
    delivery,
    number=st.sampled_from([1, 2]),
    tag=st.integers(1, 2**63),
    redelivered=st.booleans(),
    key=st.text(max_size=8),
    properties=properties,
    body=st.binary(max_size=40),
    largest=st.sampled_from([7, 100]),
)
others = st.sampled_from(
    [frame.Heartbeat().marshal(), delivery(1, 9, False, "", spec.BasicProperties(), b"x", 9)]
)
streams = st.lists(deliveries | others, max_size=8).map(b"".join)


def fed(kind, stream, cuts):
    connection = kind()
    for first, past in pairwise([0, *cuts, len(stream)]):
        connection._on_data_available(stream[first:past])
    return connection


@given(streams, st.data())
def test_it_hands_over_what_pika_hands_over(stream, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    ours, pikas = fed(Ours, stream, cuts), fed(Pikas, stream, cuts)
    assert ours.handed == pikas.handed
    assert ours.bytes_received == pikas.bytes_received == len(stream)
    assert ours.frames_received == pikas.frames_received


def test_a_routing_key_that_is_no_text_stays_bytes():
    stream = delivery(1, 1, False, "kex", spec.BasicProperties(), b"body", 9).replace(b"kex", b"k\xff\xfe")
    ours, pikas = fed(Ours, stream, []), fed(Pikas, stream, [])
    assert ours.handed == pikas.handed
    assert ours.handed[0][4] == b"k\xff\xfe"


def test_a_frame_without_its_end_is_the_error_that_pika_raises():
    stream = delivery(1, 1, False, "key", spec.BasicProperties(), b"body", 9)[:-1] + b"\x00"
    for kind in (Ours, Pikas):
        with pytest.raises(InvalidFrameError):
            fed(kind, stream, [])


def test_properties_without_headers_are_read_as_pika_reads_them():
    written = spec.BasicProperties(
        "text/plain", "gzip", {"a": 1}, 2, 3, "c", "r", "9", "m", 7, "t", "u", "app"
    )
    encoded = b"".join(written.encode())
    ours, pikas = Properties(), spec.BasicProperties()
    ours.decode(encoded)
    pikas.decode(encoded)
    assert {**vars(ours), "size": None} == {**vars(pikas), "size": None}
    assert ours.size == len(encoded)
    unreadable = Properties()
    unreadable.decode(encoded.replace(b"\x01aI", b"\x01aQ"))  # no kind of value is called Q
    assert {**vars(unreadable), "size": None} == {**vars(pikas), "headers": None, "size": None}


@pytest.mark.parametrize(
    "encoded", [b"", b"\x20", b"\xff\xff", b"\x20\x00\xff\xff\xff\xff", b"\x80\x00\xff", bytes(2**17)]
)
def test_properties_that_cannot_be_read_at_all_are_none(encoded):
    properties = Properties()
    properties.decode(encoded)
    assert not properties.headers and properties.message_id is None


@given(st.binary(max_size=200))
def test_no_properties_raise(encoded):
    Properties().decode(encoded)


def test_headers_over_the_limit_are_not_read():
    for room, headers in ((0, True), (1, False)):
        value = "x" * (LARGEST_HEADERS - 13 + room)
        encoded = b"".join(spec.BasicProperties(headers={"a": value}).encode())
        assert len(encoded) == LARGEST_HEADERS + room
        properties = Properties()
        properties.decode(encoded)
        assert bool(properties.headers) is headers


METHODS = [
    (Connection, "_on_data_available", ["self", "data_in"]),
    (Connection, "_read_frame", ["self"]),
    (Connection, "_trim_frame_buffer", ["self", "byte_count"]),
    (Connection, "_process_frame", ["self", "frame_value"]),
    (Channel, "_on_deliver", ["self", "method_frame", "header_frame", "body"]),
]
ATTRIBUTES = [
    (Connection, "_frame_buffer"),
    (Connection, "_channels"),
    (Connection, "frames_received"),
    (BaseConnection, "_transport"),
]
MEND = "Mend labmon/brokers/rabbitmq/fast_frames.py, or keep to an older pika in pyproject.toml"


@pytest.mark.parametrize(("owner", "name", "parameters"), METHODS)
def test_pika_has_the_private_method_that_labmon_stands_on(owner, name, parameters):
    lacks = f"pika {pika.__version__} has no {owner.__name__}.{name}({', '.join(parameters)}). {MEND}"
    method = getattr(owner, name, None)
    assert method is not None and list(inspect.signature(method).parameters) == parameters, lacks


@pytest.mark.parametrize(("owner", "name"), ATTRIBUTES)
def test_pika_has_the_private_attribute_that_labmon_stands_on(owner, name):
    lacks = f"pika {pika.__version__} no longer sets {owner.__name__}.{name}. {MEND}"
    assert f"self.{name}" in inspect.getsource(owner), lacks


def test_one_module_uses_private_parts_of_pika():
    """Whatever begins with an underscore and is not one's own, in the modules that import pika."""
    for file in sorted(Path(labmon.brokers.__file__).parent.glob("rabbitmq/*.py")):
        tree = ast.parse(file.read_text())
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
        }
        assert not used or file.name == "fast_frames.py", f"{file.name}: {used}"


def test_pikas_table_of_properties_is_left_alone():
    assert spec.props[spec.BasicProperties.INDEX] is spec.BasicProperties
