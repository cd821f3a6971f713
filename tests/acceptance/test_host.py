"""`labmon collect --host NAME`: by the inventory and ~/.ssh/config, over real SSH."""

import json

import pytest

from tests.conftest import started
from tests.support.sshd import Sshd, can_make_accounts


@pytest.fixture
def sshd(stored_lab):
    """On two addresses, the second of which is in the inventory; the ssh_config has all that one needs."""
    lab = stored_lab
    for server in started(lambda: Sshd(["127.0.0.1", "127.0.0.2"], options=["AllowTcpForwarding yes"])):
        config = lab.folder / ".ssh/config"
        config.parent.mkdir()
        config.write_text(
            f"Host one\n HostName 127.0.0.1\nHost two\n HostName 127.0.0.2\n"
            "Host deep\n HostName localhost\n ProxyJump one\n"
            f"Host *\n Port {server.port}\n User {server.user}\n IdentityFile {server.key_file}\n"
        )
        config.chmod(0o600)
        lab.run("scan", "127.0.0.2", "--dept", "1", "--no-names", "--quiet")
        yield server


def test_an_alias_has_its_address_port_user_and_key_and_maybe_its_bastion(lab, sshd):
    done = lab.run("collect", "--host", "one", "--host", "two", "--host", "deep", "-f", "json")
    rows = {
        row["hostname"]: (row["system_id"], row["ip_address"], row["failure"])
        for row in json.loads(done.stdout)
    }
    assert rows == {
        "one": (None, "127.0.0.1", None),
        "two": (1, "127.0.0.2", None),
        "deep": (None, "localhost", None),
    }
    assert sshd.log.count("Accepted publickey") == 4  # one of them to the bastion
    lab.run("systems", "set", "1", "--hostname", "pc2.cs.example.edu")
    assert "1 of 1 measured, stored" in lab.run("collect", "--host", "PC2").stderr
    for nonsense in ("no..such", ""):
        said = lab.run("collect", "--host", nonsense, code=2).stderr
        assert said == f"labmon: {nonsense!r} is neither an address nor a name, such as 10.30.5.7 or pc-17\n"


def test_the_account_that_worked_is_used_where_none_is_named(stored_lab):  # findings A16
    """`--user` forgotten costs nothing: neither a failure nor a back-off."""
    lab = stored_lab
    accounts = {"monitor": "/bin/dash"} if can_make_accounts() else None
    if accounts is None:
        pytest.skip("accounts for a private sshd need root and mount namespaces")
    for server in started(lambda: Sshd(["127.0.0.1"], options=["AllowUsers monitor"], accounts=accounts)):
        login = ["--port", server.port, "--key", server.key_file, "--host", "127.0.0.1"]
        said = lab.run("collect", *login, code=6).stdout
        assert "auth failed" in said
        lab.run("collect", *login, "--user", "monitor")
        lab.run("collect", *login)
        assert server.log.count("Accepted publickey for monitor") == 2
        # What fails with it says where it comes from.
        server.authorized.write_text("")
        said = lab.run("collect", *login, "-f", "json", code=6).stdout
        assert "monitor (which let labmon in before; name another account with --user)" in said
