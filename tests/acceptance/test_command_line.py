"""What holds for every command: help, exit codes, one line for an error, nothing drawn without a terminal."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import psutil
import psycopg
import pytest
import typer

from labmon.cli import app
from tests.acceptance.conftest import LABMON

HEAVY = ["scapy", "paramiko", "pika", "redis", "psycopg", "fastapi", "dns"]


def commands():
    """Every command and group, as the words a user types, with its description."""

    def walk(command, words):
        yield words, command.help
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, [*words, name])

    return list(walk(typer.main.get_command(app), []))


@pytest.mark.parametrize("words, description", commands(), ids=lambda value: " ".join(value)[:30])
def test_every_command_has_help(lab, words, description):
    lines = lab.run(*words, "--help", COLUMNS="80").stdout.splitlines()
    said = " ".join(" ".join(lines).split())
    assert "Usage: " + " ".join(["labmon", *words]) in said
    for paragraph in description.replace("`", "").split("\n\n"):  # whole, such as "[collect] retry_max"
        assert " ".join(paragraph.split()) in said
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("words, _", commands(), ids=lambda value: " ".join(value)[:30])
def test_every_option_has_help(words, _):
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name


def test_help_is_quick_and_imports_nothing_heavy(lab):
    loads = "import sys; sys.argv = ['labmon', '--help']\nfrom labmon.cli import main\n"
    loads += f"try: main()\nexcept SystemExit: pass\nprint([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", loads], env=lab.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        lab.run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: what the clock says depends on what else the machine is doing.
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.3, took


def test_the_version_is_printed(lab):
    assert re.fullmatch(r"labmon \d+\.\d+\.\d+\n", lab.run("--version").stdout)


@pytest.mark.parametrize(
    "arguments, code, named",
    [
        (["scan", "10.30.5.0/33", "--dept", "1"], 2, "'10.30.5.0/33' is no address"),
        (["scan", "10.30.5.80-10", "--dept", "1"], 2, "runs backwards"),
        (["scan", "127.0.0.0/28", "--dept", "one"], 2, "--dept"),
        (["scan", "127.0.0.0/28", "--dept", "0"], 2, "--dept"),
        (["scan", "127.0.0.0/28"], 2, "--dept"),
        (["scan", "10.0.0.0/8", "--dept", "1"], 2, "--force"),
        (["scan", "8.8.8.0/24", "--dept", "1"], 2, "--force"),
        (["scan", "127.0.0.0/28", "--dept", "1", "--typ", "ping"], 2, "--typ"),
        (["collect"], 2, "--all"),
        (["collect", "--all", "--lab", "3"], 2, "--all"),
        (["collect", "--system", "7"], 2, "no system 7"),
        (["collect", "--host", "127.0.0.1", "--key", "/nowhere/key"], 2, "/nowhere/key"),
        (["consume", "--queue", "metrix"], 2, "metrics_queue"),
        (["config", "schema", "metric"], 2, "metrics"),
        (["config", "check", "extra"], 2, "extra"),
        (["--config", "/nowhere/config.toml", "config", "check"], 2, "/nowhere/config.toml"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_thing(lab, arguments, code, named):
    done = lab.run(*arguments, code=code)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr


@pytest.mark.parametrize(
    "environ, code, named",
    [
        ({"LABMON_SCAN_RAET": "1"}, 2, "LABMON_SCAN_RATE"),
        ({"QUEUE_PORT": "many"}, 2, "QUEUE_PORT"),
        ({"LABMON_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/labmon"}, 5, "127.0.0.1:1"),
        ({"LABMON_DATABASE_URL": "not a url"}, 5, "[database] url"),
        ({"QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": "1"}, 4, "127.0.0.1"),
        ({"LABMON_STATE_DIR": "/proc/labmon"}, 3, "[state] dir"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(lab, environ, code, named):
    done = lab.run("queue-depth", code=code, **environ)
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr
    assert "hunter2" not in done.stderr


def test_a_wrong_password_of_the_database(lab, postgres_server):
    done = lab.run("systems", "list", code=5, LABMON_DATABASE_URL=postgres_server.url(password="wrong"))
    assert len(done.stderr.splitlines()) == 1
    assert "password authentication failed" in done.stderr
    assert "wrong" not in done.stderr.replace("wrong password", "")


def test_an_older_schema_says_how_to_mend_it(lab, postgres_url):
    lab.environ["LABMON_DATABASE_URL"] = postgres_url
    assert "labmon db migrate" in lab.run("systems", "list", code=5).stderr
    assert "missing 0001" in lab.run("db", "status", "--check", code=5).stderr
    assert "applied 0001 inventory" in lab.run("db", "migrate").stderr
    assert "up to date" in lab.run("db", "migrate").stderr
    assert lab.run("db", "status", "--check").stdout.count("20") >= 1
    lab.run("systems", "list")


def test_cron_sees_no_colour_no_bar_and_with_quiet_nothing_at_all(stored_lab):
    lab = stored_lab
    done = lab.run("scan", "127.0.0.0/29", "--dept", "1", FORCE_COLOR="", TERM="dumb")
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    assert "6 of 6 addresses answered" in done.stderr
    quiet = lab.run("scan", "127.0.0.0/29", "--dept", "1", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    quiet = lab.run("consume", "--until-empty", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_a_reader_that_has_enough_is_no_error(stored_lab):
    lab = stored_lab
    lab.run("scan", "127.0.0.0/24", "--dept", "1", "-q")
    pipe = f"{LABMON} systems list | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], env=lab.env, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


@pytest.mark.parametrize("command", ["demo", "scan"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
@pytest.mark.parametrize("after", [0, 0.3, 1.2])
def test_a_signal_at_any_moment_leaves_nothing_behind(lab, command, number, after):
    """Seconds count from the middle of loading labmon: before that there is only Python to interrupt."""
    before = set(os.listdir("/tmp"))
    arguments = ["scan", "127.0.1.0/24", "--dept", "1", "--rate", "50", "--type", "ping"]
    with lab.start(*(arguments if command == "scan" else ["demo"]), start_new_session=True) as labmon:
        process = psutil.Process(labmon.pid)
        while process.cpu_times().user < 0.1:
            time.sleep(0.01)
        time.sleep(after)
        labmon.send_signal(number)
        _, said = labmon.communicate(timeout=60)
    assert labmon.returncode in (128 + number, -number, 130)  # negative: before labmon had begun
    assert "Traceback" not in said
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(lab.folder) not in running
    if command == "demo":
        left = [name for name in set(os.listdir("/tmp")) - before if name.startswith("labmon-demo")]
        assert left == []
        assert "labmon-demo-" not in running


def test_a_table_fits_the_terminal(stored_lab):
    """Addresses are whole at 80 columns; the failure is what gives."""
    lab = stored_lab
    lab.run("scan", "127.0.0.1-2", "--dept", "1")
    (lab.folder / "password").write_text("secret")
    (lab.folder / "password").chmod(0o600)
    script = f"stty cols 80; {LABMON} collect --all --port 1; true"
    done = subprocess.run(
        ["script", "-qec", f"sh -c '{script}'", "/dev/null"],
        env=lab.env | {"LABMON_COLLECT_PASSWORD_FILE": str(lab.folder / "password"), "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stdout.replace("\r", "").splitlines()
    rows = [line for line in lines if re.match(r"\s*\d+ +127", line)]
    assert [row.split()[1] for row in rows] == ["127.0.0.1", "127.0.0.2"]
    plain = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in lines]
    assert max(len(line) for line in plain if "measuring" not in line) <= 80


def test_output_that_cannot_be_written_is_one_line(stored_lab):
    lab = stored_lab
    lab.run("scan", "127.0.0.1", "--dept", "1", "-q")
    done = subprocess.run(
        f"{LABMON} systems list >/dev/full", shell=True, env=lab.env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "labmon: the output cannot be written: No space left on device\n"


def test_a_department_out_of_bounds_is_refused_before_anything_is_done(lab):
    for arguments in (["scan", "127.0.0.1"], ["collect"], ["systems", "list"]):
        assert "--dept" in lab.run(*arguments, "--dept", "99999999999", code=2).stderr


@pytest.mark.parametrize(
    "command",
    [
        "events show --system",
        "replay --queue metrics --from 1h --system",
        "metrics range --from 1h",
        "dead-letters list metrics --limit",
        "events show --limit",
        "systems history --scan",
        "alerts history --limit",
        "departments set",
    ],
)
def test_a_number_that_no_column_holds_is_wrong_usage(stored_lab, command):
    more = ["cpu"] if "range" in command else []
    assert "less than or equal" in stored_lab.run(*command.split(), 10**20, *more, code=2).stderr


def test_what_could_not_be_stored_is_not_called_stored(lab, store_url):
    """The store takes no more: a rule of the administrator's, say."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url) as connection:
        connection.execute("ALTER TABLE systems ADD CHECK (ip_address <> '127.0.0.1')")
    done = lab.run("scan", "127.0.0.1", "--dept", "1", code=5)
    assert "could not be stored" in done.stderr
    assert "; stored" not in done.stderr


def test_machines_with_numbers_of_their_own_are_no_obstacle(lab, store_url):
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url) as connection:
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (1, 1), (3, 1)")
    lab.run("scan", "127.0.0.0/29", "--dept", "1")
    assert "9" in lab.run("systems", "list").stdout


def test_a_broker_that_was_never_there_ends_a_run_that_has_an_end(lab):
    done = lab.run("consume", "--until-empty", code=4, QUEUE_HOST="127.0.0.1", QUEUE_PORT="1")
    assert len(done.stderr.splitlines()) == 1 + 3  # the error, and what each worker did


@pytest.mark.skipif(os.geteuid() != 0, reason="only root uses another account")
def test_a_strict_umask_is_no_obstacle(lab):
    shutil.rmtree(lab.folder / "state", ignore_errors=True)
    lab.environ["LABMON_STATE_DIR"] = str(lab.folder / "deep" / "state")
    command = f"umask 077; exec {LABMON} systems list"
    done = subprocess.run(command, shell=True, env=lab.env, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()) == (0, [done.stderr.strip()])


def test_the_module_runs_as_the_command_does(lab):
    done = subprocess.run(
        [sys.executable, "-m", "labmon", "--version"], env=lab.env, capture_output=True, text=True, check=True
    )
    assert done.stdout == lab.run("--version").stdout


def test_the_tests_run_the_labmon_that_is_installed_beside_them():
    assert shutil.which(LABMON) == LABMON
