import getpass

from labmon.app.scope import current_user


def test_an_account_without_a_name_is_unknown(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "eva")
    assert current_user() == "eva"
    for error in (KeyError("no entry"), OSError("no entry")):

        def fail(error=error):
            raise error

        monkeypatch.setattr(getpass, "getuser", fail)
        assert current_user() == "unknown"
