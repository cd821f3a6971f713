"""The exchanges and queues at RabbitMQ, and how labmon makes them.

    labmon       (topic) --- metrics.# ---> metrics_queue       --+-- delivered too often, or expired
    labmon.high  (topic) --- metrics.# ---> metrics_queue.high  --+-> metrics_queue.dead

Other programs publish to the exchange `labmon` with a routing key such as metrics.collected, and what is
urgent to `labmon.high` with the same key. (A key that ends in .high would match metrics.# too, and go both
ways.) Or straight to metrics_queue or metrics_queue.high through the default exchange.
"""

import re
from collections.abc import Mapping
from typing import Any

from labmon.brokers.rabbitmq.session import ChannelClosedByBroker, Session
from labmon.brokers.rabbitmq.wire import DEAD, HIGH

EXCHANGE = "labmon"
HIGH_EXCHANGE = "labmon.high"
EXCHANGES = (EXCHANGE, HIGH_EXCHANGE)

DELIVERY_LIMIT = 1000
"""Deliveries after which the server itself moves a message to the dead letters: it may be what kills the
workers. Far above `max_attempts`, since a crash counts for all that its worker had fetched. Left unsaid, it
is 20 in RabbitMQ 4; and in 3.10, where there is none then, what is given back goes to the end of the queue
instead of its place."""

NO_LIMIT = 2**31 - 1

NOT_FOUND, FORBIDDEN, INEQUIVALENT = 404, 403, 406


def queues_of(queue: str) -> list[str]:
    """A queue's own queues at the server. The dead letters come first: the others are made to point there."""
    return [queue + DEAD, queue, queue + HIGH]


def arguments(name: str, queue: str) -> dict[str, Any]:
    """What messages would be lost or reordered without, also where no policy can be set.

    All else is for policies, which can be changed. They can lower the limit, too.
    """
    if name == queue + DEAD:
        # With a limit, messages that are returned keep their order.
        return {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT}
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue + DEAD,
    }


def look(session: Session, name: str) -> Any | None:
    """A queue's `consumer_count` and `message_count`, of ready messages only. None when it does not exist."""
    try:
        answer = session.channel().ask(
            lambda channel, answer: channel.queue_declare(name, passive=True, callback=answer)
        )
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND and "no queue" in error.reply_text:
            return None
        raise  # it may be on a node that is down, which is a 404 too
    return answer.method


def has_exchange(session: Session, name: str) -> bool:
    """True when there is one, of whatever kind."""
    try:
        session.channel().ask(
            lambda channel, answer: channel.exchange_declare(name, passive=True, callback=answer)
        )
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            return False
        raise
    return True


def missing(session: Session, queue: str, pattern: str | None) -> tuple[list[str], list[str]]:
    """The queues and the exchanges that are still to be made."""
    exchanges = EXCHANGES if pattern else ()
    return (
        [name for name in queues_of(queue) if look(session, name) is None],
        [name for name in exchanges if not has_exchange(session, name)],
    )


def declare(session: Session, queue: str, pattern: str | None) -> bool:
    """Make what is missing, and bind the queue. Where nothing is missing, no rights are needed."""
    queues, exchanges = missing(session, queue, pattern)
    for name in queues:
        declare_queue(session, name, arguments(name, queue))
    if pattern:
        for name in EXCHANGES:
            declare_exchange(session, name, may_be_forbidden=name not in exchanges)
        bind(session, queue, pattern)
    return bool(queues or exchanges)


def declare_queue(session: Session, name: str, wanted: Mapping[str, Any]) -> None:
    """Make one with these arguments. One that is there is compared with them, and kept."""
    session.channel().ask(
        lambda channel, answer: channel.queue_declare(
            name, durable=True, arguments=dict(wanted), callback=answer
        )
    )


def declare_exchange(session: Session, name: str, *, may_be_forbidden: bool) -> None:
    """The same. An exchange that is no topic exchange would take messages and drop them."""
    try:
        session.channel().ask(
            lambda channel, answer: channel.exchange_declare(name, "topic", durable=True, callback=answer)
        )
    except ChannelClosedByBroker as error:
        if not (may_be_forbidden and error.reply_code == FORBIDDEN):
            raise


def bind(session: Session, queue: str, pattern: str) -> bool:
    """Make sure that both lanes get the messages of their exchange. False when this account may not."""
    try:
        _bind(session, queue, EXCHANGE, pattern)
        _bind(session, queue + HIGH, HIGH_EXCHANGE, pattern)
    except ChannelClosedByBroker as error:
        if error.reply_code == FORBIDDEN:
            return False
        raise
    return True


def _bind(session: Session, name: str, exchange: str, pattern: str) -> None:
    session.channel().ask(
        lambda channel, answer: channel.queue_bind(name, exchange, pattern, callback=answer)
    )


def difference(session: Session, name: str, queue: str) -> str | None:
    """What a queue is that is not as labmon would have made it, such as "a classic queue".

    None for one that is, and when this account may not know.
    """
    found_argument = ""
    # The server names one difference, the first by the alphabet, and not the one that matters most.
    for wanted in (arguments(name, queue), {"x-queue-type": "quorum"}):
        try:
            declare_queue(session, name, wanted)
            return "a quorum queue without labmon's arguments" if found_argument else None
        except ChannelClosedByBroker as error:
            if error.reply_code == FORBIDDEN:
                return None
            found = re.search(r"arg '(.+?)' for .* but current is (?:the value )?(.+)", error.reply_text)
            if error.reply_code != INEQUIVALENT or found is None:
                raise
            argument, there = found[1], found[2].split(" of type ")[0].strip("'")
            if argument == "x-queue-type":
                return f"a {'classic' if there == 'none' else there} queue"
            found_argument = found_argument or f"a queue with another {argument}: {there}"
    return found_argument
