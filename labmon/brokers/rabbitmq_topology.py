"""The exchanges and queues at RabbitMQ, and how labmon makes them.

    labmon       (topic) --- metrics.# ---> metrics_queue       --+-- delivered too often, or expired
    labmon.high  (topic) --- metrics.# ---> metrics_queue.high  --+-> metrics_queue.dead

Another program publishes to the exchange `labmon` with a routing key such as metrics.collected, or to `labmon.high`
if it is urgent; or to the default exchange with the queue's own name.
"""

import re
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from labmon.brokers.rabbitmq_connection import Session
from labmon.brokers.rabbitmq_wire import DEAD, HIGH

EXCHANGE = "labmon"
HIGH_EXCHANGE = "labmon.high"

DELIVERY_LIMIT = 1000
"""Deliveries after which the server itself moves a message to the dead letters: it may be what kills the workers.
Far above `max_attempts`, since a crash counts for all that its worker had fetched. RabbitMQ 4 would stop at 20; 3.10
without a limit puts what is given back at the end of the queue, and with one back in its place."""

NO_LIMIT = 2**31 - 1

NOT_FOUND, FORBIDDEN, INEQUIVALENT = 404, 403, 406


def queues_of(queue: str) -> list[str]:
    """A queue's own queues at the server. The dead letters come first: the others are made to point there."""
    return [queue + DEAD, queue, queue + HIGH]


def arguments(name: str, queue: str) -> dict[str, Any]:
    """What can only be said when a queue is made, and what messages would be lost without.

    The rest is for policies, which can be changed. A policy can also lower the limit.
    """
    if name == queue + DEAD:
        # The limit keeps them in order when somebody looks at them.
        return {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT}
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue + DEAD,
    }


def look(session: Session, name: str) -> Any | None:
    """A queue's `message_count`, of ready messages only, and `consumer_count`. None when there is none."""
    try:
        answer = session.line().ask(
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
        session.line().ask(
            lambda channel, answer: channel.exchange_declare(name, passive=True, callback=answer)
        )
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            return False
        raise
    return True


def missing(session: Session, queue: str, pattern: str | None) -> tuple[list[str], list[str]]:
    """The queues and the exchanges that are still to be made."""
    exchanges = (EXCHANGE, HIGH_EXCHANGE) if pattern else ()
    return (
        [name for name in queues_of(queue) if look(session, name) is None],
        [name for name in exchanges if not has_exchange(session, name)],
    )


def declare(session: Session, queue: str, pattern: str | None) -> bool:
    """Make what is missing. What is there stays as it is, and then no rights are needed."""
    queues, exchanges = missing(session, queue, pattern)
    for name in queues:
        declare_queue(session, name, queue)
    for name in exchanges:
        declare_exchange(session, name)
    if pattern:
        bind(session, queue, pattern)
    return bool(queues or exchanges)


def declare_queue(session: Session, name: str, queue: str) -> None:
    """Make one, or have it checked against what labmon would make."""
    session.line().ask(
        lambda channel, answer: channel.queue_declare(
            name, durable=True, arguments=arguments(name, queue), callback=answer
        )
    )


def declare_exchange(session: Session, name: str) -> None:
    """Make one, or have it checked."""
    session.line().ask(
        lambda channel, answer: channel.exchange_declare(name, "topic", durable=True, callback=answer)
    )


def bind(session: Session, queue: str, pattern: str) -> bool:
    """Make sure that both lanes get the messages of their exchange. False when this account may not.

    The server says nothing different when they got them already.
    """
    try:
        for exchange, name in ((EXCHANGE, queue), (HIGH_EXCHANGE, queue + HIGH)):
            session.line().ask(
                lambda channel, answer, exchange=exchange, name=name: channel.queue_bind(
                    name, exchange, pattern, callback=answer
                )
            )
    except ChannelClosedByBroker as error:
        if error.reply_code == FORBIDDEN:
            return False
        raise
    return True


def difference(session: Session, name: str, queue: str) -> str | None:
    """How a queue that is there differs from what labmon would have made, such as "a classic queue".

    None when it does not, or when this account may not know.
    """
    said = ""
    # The server names one difference, the first by the alphabet, and not the one that matters most.
    for wanted in (arguments(name, queue), {"x-queue-type": "quorum"}):
        try:
            session.line().ask(
                lambda channel, answer, wanted=wanted: channel.queue_declare(
                    name, durable=True, arguments=wanted, callback=answer
                )
            )
            return "a quorum queue without labmon's arguments" if said else None
        except ChannelClosedByBroker as error:
            if error.reply_code == FORBIDDEN:
                return None
            found = re.search(r"arg '(.+?)' for .*: received (.+) but current is (.+)", error.reply_text)
            if error.reply_code != INEQUIVALENT or found is None:
                raise
            argument, _, there = (re.sub(r"^the value | of type '\w+'$", "", part) for part in found.groups())
            said = said or f"another {argument}, {there}"
            if argument == "x-queue-type":
                return f"a {there.strip(chr(39))} queue"
    return f"a queue with {said}"
