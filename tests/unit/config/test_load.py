import os

import pytest

from labmon.config.keys import KEYS, SEED_NAMES
from labmon.config.load import load
from labmon.config.reference import sample
from labmon.config.tables import Config
from labmon.config.units import Seconds
from labmon.errors import ConfigError


def write(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(text)
    return file


def test_every_key_is_in_the_sample_file_and_the_sample_is_the_defaults(tmp_path, pytestconfig):
    shipped = (pytestconfig.rootpath / "config.example.toml").read_text()
    assert shipped == sample(), "write it anew with: labmon config init config.example.toml --force"
    loaded = load(write(tmp_path, shipped), environ={})
    assert loaded.config == Config()
    sources = {path: source for path, _, source in loaded.rows() if not KEYS[path].example}
    assert set(sources.values()) == {str(tmp_path / "config.toml")}


def test_an_example_in_the_sample_file_is_valid_and_comes_last_in_its_table(tmp_path):
    for key in KEYS.values():
        if key.example:
            assert [one for one in KEYS.values() if one.table == key.table][-1] == key
            loaded = load(write(tmp_path, key.example), environ={})
            assert getattr(getattr(loaded.config, key.table), key.name) != key.default


def test_every_key_has_a_comment_above_it_in_the_sample():
    lines = sample().splitlines()
    for key in KEYS.values():
        start = lines.index(f"[{key.table}]")
        line = f"# [[{key.path}]]" if key.example else f"{key.name} = "
        place = next(i for i in range(start, len(lines)) if lines[i].startswith(line))
        assert lines[place - 1].startswith("# ")


def test_without_a_file_everything_is_at_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(environ={}).config == Config()


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    file = write(tmp_path, "[scan]\nrate = 1\nretries = 2\n[queue]\nport = 3\n")
    loaded = load(file, environ={"LABMON_SCAN_RATE": "10", "QUEUE_PORT": "30"}, flags={"scan.rate": 100})
    assert (loaded.config.scan.rate, loaded.config.scan.retries, loaded.config.queue.port) == (100, 2, 30)
    assert loaded.sources["scan.rate"] == "command line"
    assert loaded.sources["queue.port"] == "QUEUE_PORT"
    assert loaded.sources["scan.retries"] == str(file)
    assert loaded.sources["scan.names"] == "default"


def test_a_flag_that_was_not_given_changes_nothing():
    assert load(environ={}, flags={"scan.rate": None}).config.scan.rate == 10000


@pytest.mark.parametrize("name, path", SEED_NAMES.items())
def test_the_scripts_environment_names_work_and_ours_win(name, path):
    table, key = path.split(".")
    values = {"enabled": ("true", "false"), "type": ("postgres", "postgres"), "port": ("7", "8")}
    first, second = values.get(key, ("one", "two"))
    kind = type(getattr(getattr(Config(), table), key))
    read = (lambda text: text == "true") if kind is bool else kind
    assert getattr(getattr(load(environ={name: first}).config, table), key) == read(first)
    both = {name: first, KEYS[path].variable: second}
    assert getattr(getattr(load(environ=both).config, table), key) == read(second)


def test_lists_and_durations_and_booleans_are_read_from_the_environment():
    environ = {
        "LABMON_SCAN_TCP_PORTS": "22, 80",
        "LABMON_COLLECT_DEADLINE": "2m",
        "LABMON_SCAN_NAMES": "false",
    }
    config = load(environ=environ).config
    assert config.scan.tcp_ports == [22, 80]
    assert config.collect.deadline == 120
    assert config.scan.names is False


@pytest.mark.parametrize(
    "text, said",
    [
        ("[scann]\n", "no table [scann]. Did you mean scan?"),
        ("[scan]\nrat = 1\n", "[scan] has no key rat. Did you mean rate?"),
        ("[scan]\nrate = 'fast'\n", "[scan] rate: expected a whole number"),
        ("[scan]\nrate = -1\n", "[scan] rate: expected a whole number >= 0"),
        (
            "[queue]\ntype = 'postgre'\n",
            "[queue] type: 'postgre' is not one of its values. Did you mean postgres?",
        ),
        ("[collect]\ndeadline = 'soon'\n", "[collect] deadline: expected a duration"),
        ("[collect]\ndeadline = true\n", "[collect] deadline: expected a duration"),
        ("rate = 1\n", "no table [rate]"),
        ("scan = 1\n", "scan must be a table"),
        ("[scan\n", "not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_table_key_and_nearest_name(tmp_path, text, said):
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_in_the_file_is_no_number_even_where_the_file_has_another_ending(tmp_path):
    file = tmp_path / "labmon.conf"
    file.write_text("[scan]\nrate = '5'\n")
    with pytest.raises(ConfigError, match="expected a whole number"):
        load(file, environ={})


@pytest.mark.parametrize(
    "environ, said",
    [
        ({"LABMON_SCAN_RAET": "1"}, "LABMON_SCAN_RAET is no key of labmon. Did you mean LABMON_SCAN_RATE?"),
        ({"QUEUE_PORT": "many"}, "QUEUE_PORT: [queue] port: expected a whole number"),
        ({"LABMON_CONFIG": "/nowhere/config.toml"}, "LABMON_CONFIG: no file /nowhere/config.toml"),
    ],
)
def test_a_wrong_environment_is_named(environ, said):
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "environ, said",
    [
        (
            {"METRICS_QUEUE": "alert_queue"},
            "METRICS_QUEUE: [queue] metrics_queue: 'alert_queue' is the name",
        ),
        (
            {"ALERT_QUEUE": "metrics_queue.dead"},
            "ALERT_QUEUE: [queue] alert_queue: 'metrics_queue.dead'",
        ),
        ({"LABMON_QUEUE_LEASE": "0s"}, "LABMON_QUEUE_LEASE: [queue] lease: expected at least 1s"),
        ({"LABMON_SPOOL_MAX_BYTES": "1"}, "expected at least 1MiB"),
        ({"LABMON_COLLECT_DEADLINE": "99999999d"}, "ten years"),
    ],
)
def test_what_could_only_go_wrong_is_refused(environ, said):
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)
    assert said in str(caught.value)


def test_a_variable_without_a_value_counts_as_unset():
    assert load(environ={"QUEUE_PORT": "", "QUEUE_ENABLED": ""}).config == Config()


def test_a_secret_is_neither_shown_nor_in_an_error(tmp_path):
    file = write(
        tmp_path, "[queue]\npassword = 'hunter2'\n[database]\nurl = 'postgresql://me:hunter2@db/lab'\n"
    )
    loaded = load(file, environ={})
    shown = {key: value for key, value, _ in loaded.rows()}
    assert shown["queue.password"] == '"***"'
    assert shown["database.url"] == '"postgresql://me:***@db/lab"'
    assert loaded.holds_secret()
    for url in ("postgresql://h/x?user=u&password=hunter2", "postgresql://u:p@ss:hunter2@h/x"):
        rows = {key: value for key, value, _ in load(environ={"LABMON_DATABASE_URL": url}).rows()}
        assert "hunter2" not in rows["database.url"]
        assert "ss:" not in rows["database.url"]
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "[queue]\npassword = 12345\n"), environ={})
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    "text, seconds",
    [("250ms", 0.25), ("30s", 30), ("5m", 300), ("24h", 86400), ("7d", 604800), (2, 2), (0.5, 0.5)],
)
def test_durations(text, seconds):
    assert Seconds.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "5 weeks", "-1", "inf", "nan", "1e9", None])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError):
        Seconds.parse(text)


@pytest.mark.parametrize("text", ["250ms", "30s", "5m", "1d", "0s", "90s"])
def test_durations_are_written_as_they_are_read(text):
    assert Seconds.parse(str(Seconds.parse(text))) == Seconds.parse(text)


@pytest.mark.parametrize("text, least, most", [("1", 1, 1), ("4", 4, 4), ("1..8", 1, 8)])
def test_workers_are_a_number_or_a_range(text, least, most):
    workers = load(environ={"LABMON_CONSUME_WORKERS": text}).config.consume.workers
    assert (workers.least, workers.most) == (least, most)


@pytest.mark.parametrize("text", ["0", "8..1", "..4", "many", "257", "1..", "-1"])
def test_workers_that_make_no_sense_are_refused(text):
    with pytest.raises(ConfigError, match=r"\[consume\] workers: expected a number of workers"):
        load(environ={"LABMON_CONSUME_WORKERS": text})


def test_targets_are_tables_or_a_list_in_a_variable_and_their_addresses_are_never_shown(tmp_path):
    text = """
[[notify.targets]]
name = "admins"
url = "slack://token-a/token-b"
severities = ["critical"]
"""
    from_file = load(write(tmp_path, text), environ={})
    variable = '[{name = "admins", url = "slack://token-a/token-b", severities = ["critical"]}]'
    from_variable = load(environ={"LABMON_NOTIFY_TARGETS": variable})
    assert from_file.config == from_variable.config
    assert from_file.config.notify.targets[0].severities == ["critical"]
    assert ("notify.targets", "admins (***)", "LABMON_NOTIFY_TARGETS") in from_variable.rows()


@pytest.mark.parametrize(
    "text, named",  # findings C11
    [
        ('[{name = "a", url = "x", severity = 1}]', "unknown key severity. Did you mean severities"),
        ('[{name = "a"}]', "missing key url"),
        ('[{name = "a", url = "x"}, {name = "a", url = "y"}]', "2 targets are named 'a'"),
        ('[{name = "a", url = "x", severities = ["bad"]}]', "bad"),
        ("admins", "expected a list of tables"),
        ('[{url = "x"}]', "number 1: missing key name"),
        ('[{name = "a", url = "x", severities = ["critcal"]}]', "'a': severities: .* Did you mean critical"),
        ('[{name = "a", url = "https:///x"}]', "'a': url: expected https://HOST/PATH"),
        ('[{name = "a", url = 2026-01-01}]', "'a': url: expected text"),
    ],
)
def test_a_wrong_target_is_named(text, named):
    with pytest.raises(ConfigError, match="LABMON_NOTIFY_TARGETS: .*" + named):
        load(environ={"LABMON_NOTIFY_TARGETS": text})


# findings C11
def test_every_fault_is_in_the_error_and_its_text_says_how_many(tmp_path):
    file = write(
        tmp_path,
        """
[scan]
rat = 1
timeout = "soon"
tcp_ports = [22, 70000, "x"]
[queue]
discovery_queue = "a b"
metrics_queue = "alert_queue"
high_priority = ["dept:1", "room:3"]
[database]
url = 2026-01-01
[[notify.targets]]
name = "admins"
severity = "critical"
""",
    )
    with pytest.raises(ConfigError) as caught:
        load(file, environ={"LABMON_LOG_LEVL": "info"})
    said = [fault.removeprefix(f"{file}: ") for fault in caught.value.faults]
    assert said == [
        "[scan] has no key rat. Did you mean rate?",
        "environment: LABMON_LOG_LEVL is no key of labmon. Did you mean LABMON_LOG_LEVEL?",
        "[database] url: expected text",
        "[queue] discovery_queue: expected up to 200 letters, digits and . _ : -, not 'a b'",
        '[queue] high_priority: expected such as "dept:1", "lab:3" or "system:42", not \'room:3\'',
        '[scan] timeout: expected a duration such as "30s", "5m", "24h", "7d" or "2w", not \'soon\'',
        "[scan] tcp_ports: expected a whole number <= 65535, not 70000",
        "[scan] tcp_ports: expected a whole number, not 'x'",
        "[[notify.targets]] 'admins': unknown key severity. Did you mean severities?",
        "[[notify.targets]] 'admins': missing key url",
        "[queue] metrics_queue: 'alert_queue' is the name of another queue too",
        "default: [queue] alert_queue: 'alert_queue' is the name of another queue too",
    ]
    assert str(caught.value).endswith("Did you mean rate? (11 more: labmon config check)")


# findings C10
def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf[collect]\r\nport = 2299\r\n")
    assert load(file, environ={}).config.collect.port == 2299


# findings E7
@pytest.mark.parametrize("content", [b"[scan]\rrate = 7\r", b"# a\rb\n", b"[scan]\nrate = 7\r"])
def test_a_bare_carriage_return_is_not_toml(tmp_path, content):
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="not TOML"):
        load(file, environ={})


# findings E7
@pytest.mark.parametrize("text", ['["a\\nb"]', '[scan]\n"a\\nb" = 1', "[scan]\nrate = 'a\\nb'"])
def test_an_error_is_one_line_whatever_the_file_names(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), environ={})
    assert "\n" not in str(caught.value)


# findings C10
@pytest.mark.parametrize(
    "environ",
    [
        {"LABMON_SERVICE_HOST": "10.3.0.7", "LABMON_SERVICE_PORT": "80", "LABMON_SERVICE_PORT_HTTP": "80"},
        {"LABMON_PORT": "tcp://10.3.0.7:80", "LABMON_PORT_80_TCP": "tcp://10.3.0.7:80"},
        {"LABMON_PORT_80_TCP_PROTO": "tcp", "LABMON_PORT_80_TCP_ADDR": "10.3.0.7"},
        {"LABMON_DB_SERVICE_HOST": "10.3.0.8", "LABMON_DB_PORT_5432_TCP_PORT": "5432"},
        {"QUEUE_PORT": "tcp://10.3.0.9:5672", "LABMON_QUEUE_PORT": "tcp://10.3.0.9:5672"},
        {"LABMON_COLLECT_PORT": "udp://10.3.0.9:22"},
    ],
)
def test_the_variables_that_kubernetes_sets_for_services_are_no_keys(environ):
    assert load(environ=environ).config == Config()


def test_a_port_that_is_no_service_s_address_is_still_wrong():
    for environ in ({"QUEUE_PORT": "http://x"}, {"LABMON_SERVICE": "x"}, {"LABMON_PORT": "80"}):
        with pytest.raises(ConfigError):
            load(environ=environ)


# findings B9
@pytest.mark.parametrize("password", ["hun/ter2", "hun://ter2", "hunter2@x", "hunter2\udcff"])
def test_no_part_of_a_password_in_a_url_is_shown(password):
    environ = {"LABMON_DATABASE_URL": f"postgresql://me:{password}@db.example.edu/lab"}
    try:
        shown = dict((key, value) for key, value, _ in load(environ=environ).rows())["database.url"]
    except ConfigError as error:
        shown = str(error)
        assert shown == "LABMON_DATABASE_URL: [database] url: is not UTF-8"
    assert "hun" not in shown
    assert "ter2" not in shown


# findings B1
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
@pytest.mark.parametrize("how", ["--config", "LABMON_CONFIG", "./config.toml", "the user's folder"])
def test_a_file_of_another_account_is_refused_however_it_was_found(tmp_path, monkeypatch, how):
    folder = tmp_path / "labmon"
    folder.mkdir()
    file = folder / "config.toml"
    file.write_text("[scan]\nrate = 7\n")
    os.chown(file, 65534, 65534)
    explicit, environ = None, {}
    monkeypatch.chdir(tmp_path)
    if how == "--config":
        explicit = file
    elif how == "LABMON_CONFIG":
        environ = {"LABMON_CONFIG": str(file)}
    elif how == "./config.toml":
        monkeypatch.chdir(folder)
    else:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"config\.toml belongs to nobody, .* chown root"):
        load(explicit, environ=environ)
    os.chown(file, 0, 0)
    assert load(explicit, environ=environ).config.scan.rate == 7


# findings E7
def test_the_state_folder_that_an_empty_key_means_is_shown(monkeypatch):
    rows = {key: (value, source) for key, value, source in load(environ={}).rows()}
    if os.geteuid() == 0:
        assert rows["state.dir"] == ('"/var/lib/labmon"', "default (root's, whatever HOME says)")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    rows = {key: (value, source) for key, value, source in load(environ={}).rows()}
    assert rows["state.dir"] == ('"/home/me/state/labmon"', "default (below the home folder)")


def named(tmp_path, kind):
    """Something with a name that is no file to read."""
    path = tmp_path / kind
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to("loop")
        case "file/in-a-file":
            (tmp_path / "file").touch()
    return path


@pytest.mark.parametrize(
    "kind, said",
    [
        ("folder", "is a folder. Name the file in it: .*folder/config.toml, after: labmon config init"),
        ("pipe", "is no regular file"),
        ("loop", "Too many levels of symbolic links"),
        ("file/in-a-file", "no file"),
        ("nothing", "no file .* Make one with: labmon config init"),
    ],
)
def test_what_is_no_file_is_refused_with_what_it_is(tmp_path, kind, said):
    with pytest.raises(ConfigError, match=f"^--config: .*{said}"):
        load(named(tmp_path, kind), environ={})
    with pytest.raises(ConfigError, match=f"^LABMON_CONFIG: .*{said}"):
        load(environ={"LABMON_CONFIG": str(tmp_path / kind)})


@pytest.mark.parametrize(
    "kind, host",
    [
        ("redis", "mq.example.edu:6379"),
        ("redis", "mq example"),
        ("rabbitmq", "amqp://mq.example.edu"),
        ("rabbitmq", "a.example.edu, b..example.edu"),
        ("postgres", "user@db.example.edu"),
    ],
)
def test_a_queue_host_that_is_none_is_a_fault(kind, host):
    with pytest.raises(ConfigError, match=r"QUEUE_HOST: \[queue\] host: "):
        load(environ={"QUEUE_TYPE": kind, "QUEUE_HOST": host})


@pytest.mark.parametrize(
    "kind, host",
    [
        ("redis", "127.0.0.1"),
        ("redis", "/run/redis.sock"),
        ("postgres", "/var/run/postgresql"),
        ("rabbitmq", "a.example.edu:5673, [::1]:5672, fd00::1, mq_1"),
        ("redis", "fe80::1%eth0"),
    ],
)
def test_what_names_a_host_is_none(kind, host):
    assert load(environ={"QUEUE_TYPE": kind, "QUEUE_HOST": host}).config.queue.host == host


@pytest.mark.parametrize(
    "key, good, bad",
    [
        ("proxies", ["10.0.0.5", "10.0.0.9/24", "::1"], "nix"),
        ("proxies", ["fd00::/8"], "10.0.0.0/33"),
        ("hosts", ["labs.example.edu", "lab_1", "labs."], "a b"),
        ("hosts", ["10.0.0.5"], "https://labs"),
    ],
)
def test_addresses_of_proxies_and_names_of_hosts_are_such(tmp_path, key, good, bad):
    file = tmp_path / "labmon.toml"
    file.write_text(f"[dashboard]\n{key} = {good!r}\n")
    assert getattr(load(file, environ={}).config.dashboard, key) == good
    file.write_text(f"[dashboard]\n{key} = {[*good, bad]!r}\n")
    with pytest.raises(ConfigError, match=f"{key}.*{bad}"):
        load(file, environ={})
