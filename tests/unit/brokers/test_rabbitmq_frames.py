"""The short way for deliveries beside pika's own: whatever comes, in whatever pieces, both give the same."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec
from pika.adapters.select_connection import SelectConnection
from pika.callback import CallbackManager
from pika.channel import Channel
from pika.exceptions import InvalidFrameError

from labmon.brokers import rabbitmq_wire  # how properties are read
from labmon.brokers.rabbitmq_frames import Connection

assert rabbitmq_wire


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


class Ours(Offline, Connection):
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
