from datetime import UTC, datetime

import pytest

from labmon.readable import shown


@pytest.mark.parametrize(
    "name, first, texts",
    [
        ("Europe/Berlin", (2026, 10, 25, 0, 30), ["2026-10-25 02:30:00 CEST", "2026-10-25 02:30:00 CET"]),
        ("America/New_York", (2026, 11, 1, 5, 59), ["2026-11-01 01:59:00 EDT", "2026-11-01 01:59:00 EST"]),
        ("Asia/Tokyo", (2026, 10, 25, 0, 30), ["2026-10-25 09:30:00", "2026-10-25 10:30:00"]),
    ],
)
def test_the_hour_that_is_there_twice_has_its_zone(zone, name, first, texts):
    zone(name)
    at = datetime(*first, tzinfo=UTC)
    assert [shown(at), shown(at.replace(hour=at.hour + 1))] == texts


@pytest.mark.parametrize("hour, text", [(0, "02:00:00 CEST"), (2, "03:00:00"), (23, "00:00:00")])
def test_the_hours_around_it_have_none(zone, hour, text):
    zone("Europe/Berlin")
    assert shown(datetime(2026, 10, 25, hour, tzinfo=UTC)).endswith(f" {text}")
