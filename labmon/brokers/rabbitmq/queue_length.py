"""How many messages are in a queue at RabbitMQ: what it counts, and when that cannot be believed."""

from collections.abc import Callable
from typing import Any, NamedTuple

from labmon.brokers.rabbitmq.session import Channel, ChannelClosedByBroker, GetEmpty, Session
from labmon.brokers.rabbitmq.topology import FORBIDDEN, look
from labmon.brokers.rabbitmq.wire import IncomingMessage


class Taken(NamedTuple):
    """The first message of a queue. It goes back when its channel is closed."""

    channel: Channel
    received: IncomingMessage
    left: int  #: messages that were ready behind it


class Length(NamedTuple):
    """Of a queue at this moment."""

    ready: int
    consumers: int


def take_first(session: Session, name: str) -> Taken | None:
    """Get the first message. None when there is none: a get takes its turn in the log of a quorum queue, so
    that its answer, unlike `look`, is never about a server that is busy or has just started."""
    channel = Channel(session)  # a channel keeps the callback of an earlier get

    def get(raw: Any, answer: Callable[[Any], None]) -> None:
        raw.add_callback(lambda _: answer(None), [GetEmpty])
        raw.basic_get(name, lambda _, *parts: answer(IncomingMessage(*parts)))

    received = channel.ask(get)
    if received is None:
        channel.close()
        return None
    return Taken(channel, received, int(received.method.message_count))


def length(session: Session, name: str) -> Length | None:
    """None when there is no such queue.

    A server that is busy for a quarter of a second, or a queue that has no leader yet, answers with 0
    messages and 0 consumers. Only a get can tell that from an empty queue without consumers.
    """
    found = look(session, name)
    if found is None:
        return None
    counted = Length(int(found.message_count), int(found.consumer_count))
    if any(counted):
        return counted
    try:
        first = take_first(session, name)
    except ChannelClosedByBroker as error:
        if error.reply_code == FORBIDDEN:  # it may count, but not look
            return counted
        raise
    if first is None:
        return counted
    first.channel.close()
    return Length(first.left + 1, 0)
