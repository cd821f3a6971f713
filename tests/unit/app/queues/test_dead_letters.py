from labmon.app.queues.dead_letters import DeadLetterRow
from labmon.brokers.base import DeadLetter, Message
from labmon.messages import utcnow


def test_a_body_that_is_no_text_is_shown_all_the_same():
    message = Message("m1", b"\xff{}", "metrics.42", high=True)
    row = DeadLetterRow.of(DeadLetter(message, "undecodable", "no JSON", 2, utcnow(), None))
    assert (row.id, row.body, row.high, row.attempts) == ("m1", "\\xff{}", True, 2)
