import pytest

from labmon.config import Config
from labmon.errors import ConfigError
from labmon.settings import KEYS, SEED_NAMES, load, sample
from labmon.units import Seconds


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
        ({"METRICS_QUEUE": "alert_queue"}, "METRICS_QUEUE: [queue] metrics_queue: 'alert_queue' is another"),
        (
            {"ALERT_QUEUE": "metrics_queue.dead"},
            "ALERT_QUEUE: [queue] alert_queue: 'metrics_queue.dead'",
        ),
        ({"LABMON_QUEUE_LEASE": "0s"}, "LABMON_QUEUE_LEASE: [queue] lease: expected 1s at least"),
        ({"LABMON_SPOOL_MAX_BYTES": "1"}, "expected 1MiB at least"),
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
    "text, named",
    [
        ('[{name = "a", url = "x", severity = 1}]', "unknown field severity"),
        ('[{name = "a"}]', "missing required field url"),
        ('[{name = "a", url = "x"}, {name = "a", url = "y"}]', "two are named 'a'"),
        ('[{name = "a", url = "x", severities = ["bad"]}]', "bad"),
        ("admins", "expected"),
    ],
)
def test_a_wrong_target_is_named(text, named):
    with pytest.raises(ConfigError, match="LABMON_NOTIFY_TARGETS: .*" + named):
        load(environ={"LABMON_NOTIFY_TARGETS": text})
