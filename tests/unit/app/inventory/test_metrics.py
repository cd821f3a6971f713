import pytest

from labmon.app.inventory.metrics import metric_called, number, sparkline
from labmon.errors import UsageError


def test_a_metric_is_named_by_the_start_of_its_name():
    assert metric_called("cpu") == "cpu_percent"
    assert metric_called("load1") == "load1"
    with pytest.raises(UsageError, match="no metric 'cpu_percnt'.*cpu_percent"):
        metric_called("cpu_percnt")
    with pytest.raises(UsageError):
        metric_called("network")  # received or sent


def test_numbers_have_three_digits_or_all_before_the_point():
    assert [number(one) for one in (0.12345, 12.345, 123456.7)] == ["0.123", "12.3", "123457"]


def test_a_sparkline_is_scaled_from_the_smallest_to_the_largest():
    assert sparkline([0.0, 7.0]) == "▁█ 0 to 7"
    assert sparkline([5.0]) == "▁ 5 to 5"
    assert len(sparkline([float(n) for n in range(1000)]).split()[0]) <= 60
