import json
import os
import stat
import subprocess

import pytest

from tests.acceptance.conftest import LABMON


def test_init_writes_a_private_file_once(lab):
    file = lab.folder / "new" / "config.toml"
    lab.run("config", "init", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lab.run("--config", file, "config", "check")
    file.write_text("[scan]\nrate = 7\n")
    assert "--force" in lab.run("config", "init", file, code=2).stderr
    assert file.read_text() == "[scan]\nrate = 7\n"
    lab.run("config", "init", file, "--force")
    assert "[collect]" in file.read_text()


def test_show_says_where_each_value_is_from_and_hides_secrets(lab):
    (lab.folder / "config.toml").write_text("[queue]\npassword = 'hunter2'\n[scan]\nrate = 7\n")
    done = lab.run("config", "show", "--format", "json", LABMON_SCAN_RETRIES="3")
    assert "hunter2" not in done.stdout + done.stderr
    rows = {row["key"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}
    assert rows["scan.rate"] == ("7", str(lab.folder / "config.toml"))
    assert rows["scan.retries"] == ("3", "LABMON_SCAN_RETRIES")
    assert rows["queue.password"][0] == '"***"'
    assert rows["collect.port"] == ("22", "default")


def test_check_names_file_table_key_and_the_nearest_name(lab):
    file = lab.folder / "config.toml"
    file.write_text("[collect]\ndedline = '5s'\n")
    said = lab.run("config", "check", code=2).stderr
    assert said == f"labmon: {file}: [collect] has no key dedline. Did you mean deadline?\n"


# findings C11
def test_check_prints_every_fault_also_those_that_only_a_service_or_a_scan_would_find(lab):
    file = lab.folder / "config.toml"
    file.write_text("[collect]\ndedline = '5s'\nport = 0\n[scan]\nrate = 'x'\n")
    said = lab.run("config", "check", code=2).stderr.splitlines()
    assert [line.removeprefix(f"labmon: {file}: ") for line in said] == [
        "[collect] has no key dedline. Did you mean deadline?",
        "[scan] rate: expected a whole number, not 'x'",
        "[collect] port: expected a whole number >= 1, not 0",
    ]
    targets = [("a", "mialto://u:hunter2@example.edu"), ("b", "slack://hunter2"), ("c", "hunter2")]
    text = "".join(f"[[notify.targets]]\nname = '{name}'\nurl = '{url}'\n" for name, url in targets)
    file.write_text(f"[scan]\nallow = ['10.0.0.0/8', '10.0.0.300']\n{text}")
    said = lab.run("config", "check", code=2).stderr
    assert "[[notify.targets]] 'a': url: Apprise has no service 'mialto'. Did you mean mailto://?" in said
    assert "[[notify.targets]] 'b': url: not complete for the service 'slack'" in said
    assert "[[notify.targets]] 'c': url: expected a URL" in said
    assert "[scan] allow: '10.0.0.300'" in said
    assert "hunter2" not in said
    assert len(said.splitlines()) == 4


# findings B1
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_a_file_of_another_account_in_the_working_folder_is_not_obeyed(lab):
    lab.environ = {"LABMON_CONFIG": ""}
    folder = lab.folder / "theirs"
    folder.mkdir()
    (folder / "config.toml").write_text("[state]\ndir = '/tmp/labmon-elsewhere'\n")
    os.chown(folder, 65534, 65534)
    command = [LABMON, "spool", "status"]
    done = subprocess.run(command, env=lab.env, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "config.toml: its folder" in done.stderr
    assert "belongs to nobody" in done.stderr
    lab.environ = {"LABMON_CONFIG": str(folder / "config.toml")}
    assert "belongs to nobody" in lab.run("spool", "status", code=2).stderr
    assert (
        "belongs to nobody" in lab.run("--config", folder / "config.toml", "spool", "status", code=2).stderr
    )


# findings E7
@pytest.mark.skipif(os.geteuid() != 0, reason="about root")
def test_root_is_told_that_its_state_folder_is_the_same_whatever_home_says(lab):
    rows = json.loads(lab.run("config", "show", "-f", "json", LABMON_STATE_DIR="").stdout)
    (row,) = [row for row in rows if row["key"] == "state.dir"]
    assert (row["value"], row["source"]) == ('"/var/lib/labmon"', "default (root's, whatever HOME says)")


def test_check_warns_of_a_secret_that_others_can_read(lab):
    file = lab.folder / "config.toml"
    file.write_text("[queue]\npassword = 'hunter2'\n")
    file.chmod(0o644)
    assert "chmod 600" in lab.run("config", "check").stderr
    file.chmod(0o600)
    assert "chmod" not in lab.run("config", "check").stderr


def test_the_file_in_the_working_folder_is_found(lab):
    del lab.environ  # not to be mistaken for a flag
    lab.environ = {"LABMON_CONFIG": ""}
    (lab.folder / "config.toml").write_text("[scan]\nrate = 7\n")
    rows = json.loads(lab.run("config", "show", "--format", "json").stdout)
    assert {"key": "scan.rate", "value": "7", "source": "config.toml"} in rows


def test_the_schema_of_each_message_is_printed(lab):
    for name in ("discovery", "scan-finished", "system-status", "metrics", "alert"):
        assert json.loads(lab.run("config", "schema", name).stdout)["$schema"]


# findings C11
@pytest.mark.parametrize(
    "text, named",
    [
        ('[database]\nurl = "mysql://u:s3cret@h/db"', "does not begin with postgresql://"),
        ('[database]\nurl = "postgresql://u:s3cret@[::1/db"', "[database] url: "),
        ('[collect]\nallow = ["10.0.0.0/8", "1.2.3.4/99"]', "[collect] allow: '1.2.3.4/99' is no network"),
        ('[collect]\nproxy_jump = "a b;c"', "[collect] proxy_jump: 'a b;c' is not [user@]host[:port]"),
    ],
)
def test_check_finds_what_only_its_users_can_see(lab, text, named):
    (lab.folder / "config.toml").write_text(text + "\n")
    said = lab.run("config", "check", code=2).stderr
    assert named in said and "s3cret" not in said


def test_check_prints_the_faults_of_all_stages_at_once(lab):
    file, key = lab.folder / "config.toml", lab.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    key.chmod(0o644)
    (lab.folder / "noise").write_bytes(b"\xff\xfe\0")
    (lab.folder / "noise").chmod(0o600)
    file.write_text(f"""
[database]
url = "postgresql://labmon:a/b@db/x"
[queue]
type = "rabbitmq"
host = "amqp://mq.example.edu"
discovery_queue = "one"
metrics_queue = "one"
[scan]
rate = "x"
allow = [7, "10.0.0.300"]
[collect]
dedline = "5s"
key_files = ["{lab.folder}/missing", "{lab.folder}/noise", "{key}"]
password_file = "{lab.folder}/nowhere"
[notify]
[[notify.targets]]
name = "a"
url = "mialto://x@example.edu"
departments = [-1]
[[notify.targets]]
name = "b"
url = "https://hooks.example.edu/x"
colour = "red"
""")
    said = lab.run("config", "check", code=2, LABMON_SPOOL_MAX_AGE="never").stderr
    for expected in [
        "[database] url: the URL cannot be read",
        "[queue] host: expected a host, not a URL",
        "[queue] discovery_queue: 'one' is the name of another queue too",
        "[queue] metrics_queue: 'one' is the name of another queue too",
        "[scan] rate: expected a whole number, not 'x'",
        "[scan] allow: expected text, not 7",
        "[scan] allow: '10.0.0.300'",
        "[collect] has no key dedline. Did you mean deadline?",
        "key_files: " + f"{lab.folder}/missing: the key cannot be read: No such file",
        "key_files: " + f"{lab.folder}/noise: this is no private key",
        "[collect] password_file cannot be read: No such file",
        "[[notify.targets]] 'a': departments: expected a whole number >= 1",
        "[[notify.targets]] 'a': url: Apprise has no service 'mialto'. Did you mean mailto://?",
        "[[notify.targets]] 'b': unknown key colour",
        "LABMON_SPOOL_MAX_AGE: [spool] max_age: expected a duration",
    ]:
        assert said.count(expected) == 1, (expected, said)
    assert f"{key} is a private key and others can read it: chmod 600 {key}" in said
    assert len(said.splitlines()) == 16


def test_a_file_that_is_no_toml_hides_no_fault_of_the_environment(lab):
    (lab.folder / "config.toml").write_text("[scan\n")
    said = lab.run("config", "check", code=2, LABMON_SCAN_RATE="x", LABMON_SCNA_RATE="1").stderr
    assert (
        "not TOML" in said
        and "LABMON_SCAN_RATE: [scan] rate" in said
        and "LABMON_SCNA_RATE is no key" in said
    )


@pytest.mark.parametrize("where", ["config.toml", "new/config.toml", "new/deep/config.toml"])
def test_init_writes_nothing_where_the_file_would_be_refused_afterwards(lab, where):
    folder = lab.folder / "everybody"
    folder.mkdir()
    folder.chmod(0o777)
    said = lab.run("config", "init", folder / where, code=2).stderr
    assert f"its folder {folder} (owner" in said and f"chmod go-w {folder}" in said
    assert not list(folder.iterdir())
    folder.chmod(0o1777)
    if "/" in where:  # a folder of our own in a sticky one is nobody else's
        said = lab.run("config", "init", folder / where).stderr.splitlines()
        assert said == [f"made the folder {(folder / where).parent}", f"wrote {folder / where}"]
        lab.run("--config", folder / where, "config", "check")


@pytest.mark.parametrize(
    "where, code", [("/proc/labmon.toml", 3), ("/sys/config.toml", 3), ("config.toml/x", 2)]
)
def test_init_says_with_its_exit_code_whether_the_place_or_the_name_is_wrong(lab, where, code):
    said = lab.run("config", "init", where, code=code).stderr
    assert "cannot be written" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "written, variable, value, said",
    [
        (
            "[database]\nurl = 'mysql://x'",
            "LABMON_DATABASE_URL",
            "",
            "[database] url: it does not begin with",
        ),
        ("[scan]\nrate = 'x'", "LABMON_SCAN_RATE", "7", "[scan] rate: expected a whole number, not 'x'"),
        ("[queue]\nhost = 'amqp://x'", "QUEUE_HOST", "127.0.0.1", "[queue] host: expected a host, not a URL"),
        ("[collect]\nallow = ['10.0.0.0/99']", "LABMON_COLLECT_ALLOW", "10.0.0.0/8", "[collect] allow"),
    ],
)
def test_check_finds_what_the_environment_hides_and_nothing_else_minds_it(
    lab, written, variable, value, said
):
    file = lab.folder / "config.toml"
    file.write_text(f"{written}\n")
    environ = {variable: value or "postgresql://127.0.0.1/labmon"}
    (line,) = lab.run("config", "check", code=2, **environ).stderr.splitlines()
    assert line.startswith(f"labmon: {file}: {said}")
    lab.run("config", "show", **environ)
