import pytest

from labmon.app.inventory.systems import MEANING, SCANS, checked_account, checked_key, status_called
from labmon.errors import UsageError
from labmon.store.inventory.statuses import STATUSES


def test_a_status_is_typed_with_a_blank_or_a_dash():
    assert {status_called(text) for text in ("auth failed", "Auth-Failed", "auth_failed ")} == {"auth failed"}
    with pytest.raises(UsageError, match="no status 'ofline'.*offline"):
        status_called("ofline")


def test_every_status_has_a_meaning():
    assert set(MEANING) == set(STATUSES)


def test_a_long_range_is_cut_in_the_list_of_scans():
    (column,) = [one for one in SCANS if one.field == "target_range"]
    assert (column.show("10.0.0.0/24"), len(column.show("x" * 500))) == ("10.0.0.0/24", 60)


@pytest.mark.parametrize("account", ["monitor", "lab\\monitor", "a.b@example.edu", "svc$", "_x-1"])
def test_an_account_is_one_word(account):
    assert checked_account(account) == account


@pytest.mark.parametrize("account", ["-oProxyCommand=x", "a b", "a\n", "=1+1", "", "x" * 70])
def test_what_is_no_account_is_refused(account):
    with pytest.raises(UsageError, match="--user"):
        checked_account(account)


def test_a_key_is_a_whole_path():
    assert checked_key("~/.ssh/lab") == "~/.ssh/lab"
    for wrong in ("id_rsa", "../key", "/k\n", "/" + "x" * 2000):
        with pytest.raises(UsageError, match="--key"):
            checked_key(wrong)
