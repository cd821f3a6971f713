"""Where a chart has a gap."""

import pytest

from labmon.store.metrics.chart import gaps


@pytest.mark.parametrize(
    ("times", "width", "readings", "expected"),
    [
        ([0, 60, 120, 180], 0, 1, []),
        ([0, 60, 180, 240], 0, 1, [180]),  # one is missing
        ([0, 55, 125, 170, 245], 0, 1, []),  # uneven
        ([0, 300, 600, 1200], 300, 5, [1200]),  # of five readings in each step
        ([0, 300, 900, 1200, 1800, 2100], 300, 1, []),  # every seven minutes
        ([0, 3600, 7200, 10800], 300, 1, []),  # every hour
        ([0, 3600, 7200, 18000], 300, 1, [18000]),
        ([0, 86400], 0, 1, []),  # nobody can say
        ([], 0, 1, []),
    ],
)
def test_a_gap_is_where_an_expected_reading_is_missing(times, width, readings, expected):
    places, _ = gaps(times, [readings] * len(times), width)
    assert [times[place] for place in places] == expected
