"""What never reaches the log."""

import time

from labmon.logs import hide_passwords


def test_passwords_are_masked_wherever_they_stand():
    text = "at postgresql://labmon:p@ss:word@db/labmon and amqp://u:x@mq, password='two words' password=one."
    assert hide_passwords(text) == (
        "at postgresql://labmon:***@db/labmon and amqp://u:***@mq, password=*** password=***"
    )


def test_a_long_word_is_looked_at_once():
    begun = time.perf_counter()
    hide_passwords("A" * 200_000)
    assert time.perf_counter() - begun < 1
