import pytest

from labmon.app.inventory.departments import checked_name, network
from labmon.errors import UsageError


def test_a_network_is_written_as_the_database_takes_it():
    assert network(" 10.30.5.7/24 ") == "10.30.5.0/24"
    assert network("2001:db8::1/64") == "2001:db8::/64"
    for text in ("10.30.5.0/99", "physics", ""):
        with pytest.raises(UsageError, match="is not a network"):
            network(text)


def test_a_name_that_a_list_cannot_show_is_refused():
    assert checked_name(" Physics ", "--name") == "Physics"
    for text in ("", "a\nb", "\x1b[2J"):
        with pytest.raises(UsageError, match="--name .* is no name"):
            checked_name(text, "--name")
