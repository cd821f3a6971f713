"""What holds for every command: help, exit codes, one line for an error, nothing drawn without a terminal."""

import os
import pty
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import psutil
import psycopg
import pytest
import typer

from labmon.cli import app
from tests.acceptance.conftest import LABMON, no_demo_left, temporary_lab

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
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        lab.run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: what the clock says depends on what else the machine is doing.
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.2, took


def test_the_version_is_printed(lab):
    assert re.fullmatch(r"labmon \d+\.\d+\.\d+\n", lab.run("--version").stdout)


@pytest.mark.parametrize(
    "arguments, code, named",
    [
        (["scan", "10.30.5.0/33", "--dept", "1"], 2, "'10.30.5.0/33' is no address"),
        (["scan", "10.30.5.80-10", "--dept", "1"], 2, "runs backwards"),
        (["scan", "127.0.0.0/28", "--dept", "one"], 2, "no department one"),
        (["scan", "127.0.0.0/28", "--dept", "0"], 2, "no department 0"),
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
    announced = "no database is configured and there is none yet"  # the first command of a new site says so
    (line,) = (line for line in done.stderr.splitlines() if announced not in line)
    assert named in line


@pytest.mark.parametrize(
    "environ, code, named",
    [
        ({"LABMON_SCAN_RAET": "1"}, 2, "LABMON_SCAN_RATE"),
        ({"QUEUE_PORT": "many"}, 2, "QUEUE_PORT"),
        ({"LABMON_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/labmon"}, 5, "127.0.0.1:1"),
        ({"LABMON_DATABASE_URL": "not a url"}, 2, "[database] url"),
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
    arguments = ["scan", "127.0.1.0/24", "--dept", "1", "--rate", "50", "--type", "ping"]
    started = lab.start(*(arguments if command == "scan" else ["demo"]), start_new_session=True)
    with no_demo_left(), started as labmon:
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
    assert done.returncode == 3
    said = "labmon: the output cannot be written: No space left on device. Make room, or send it elsewhere\n"
    assert done.stderr == said


def test_a_department_out_of_bounds_is_refused_before_anything_is_done(lab):
    for arguments in (["scan", "127.0.0.1"], ["collect"], ["systems", "list"]):
        done = lab.run(*arguments, "--dept", "99999999999", code=2)
        assert done.stderr.splitlines()[-1].startswith("labmon: there is no department 99999999999")
        assert "answered" not in done.stderr and done.stdout == ""
        assert (lab.folder / "state" / "postgres").exists() == (arguments == ["systems", "list"])


@pytest.mark.parametrize(
    "command",
    [
        "dead-letters list metrics --limit",
        "events show --limit",
        "systems history --scan",
        "alerts history --limit",
        "departments set",
    ],
)
def test_a_number_that_no_column_holds_is_wrong_usage(stored_lab, command):
    assert "at most" in stored_lab.run(*command.split(), 10**20, code=2).stderr


@pytest.mark.parametrize(
    "command",
    ["events show --system", "replay --queue metrics --from 1h --system", "metrics range --from 1h"],
)
@pytest.mark.parametrize("number", [2**31, 2**63 - 1, 2**63, 10**20])
def test_a_system_whose_number_no_column_holds_is_said_as_it_was_typed(stored_lab, command, number):
    more = ["cpu"] if "range" in command else []
    said = stored_lab.run(*command.split(), number, *more, code=2).stderr
    assert said == f"labmon: there is no system {number}. See: labmon systems list\n"


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
    lab.run("db", "migrate")
    done = lab.run("consume", "--until-empty", code=4, QUEUE_HOST="127.0.0.1", QUEUE_PORT="1")
    assert len(done.stderr.splitlines()) == 1 + 3  # the error, and what each worker did


@pytest.mark.skipif(os.geteuid() != 0, reason="only root uses another account")
def test_a_strict_umask_is_no_obstacle(lab):
    shutil.rmtree(lab.folder / "state", ignore_errors=True)
    lab.environ["LABMON_STATE_DIR"] = str(lab.folder / "deep" / "state")
    command = f"umask 077; exec {LABMON} systems list"
    done = subprocess.run(command, shell=True, env=lab.env, capture_output=True, text=True)
    announced, said = done.stderr.splitlines()
    assert "no database is configured and there is none yet" in announced
    assert (done.returncode, said.split(".")[0]) == (0, "no systems yet")


def test_the_module_runs_as_the_command_does(lab):
    done = subprocess.run(
        [sys.executable, "-m", "labmon", "--version"], env=lab.env, capture_output=True, text=True, check=True
    )
    assert done.stdout == lab.run("--version").stdout


def test_the_tests_run_the_labmon_that_is_installed_beside_them():
    assert shutil.which(LABMON) == LABMON


def on_a_terminal(lab, command, answer):
    """Run a command on a terminal of its own, with an answer typed. Returns exit code and output."""
    done = subprocess.run(
        ["script", "-qec", f"{LABMON} {command}", "/dev/null"],
        env=lab.env,
        cwd=lab.folder,
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout.replace("\r", "")


@pytest.fixture
def furnished(lab, store_url):
    """A lab B-7 in department 1, with a rule, a silence and a closing time of its own."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    lab.run("departments", "set", "1")
    lab.run("labs", "set", "B-7", "--dept", "1")
    rule = ["cpu_high", "--metric", "cpu_percent", "--above", "99", "--lab", "B-7"]
    lab.run("alerts", "rules", "add", *rule)
    lab.run("alerts", "silence", "--lab", "B-7", "--rule", "cpu_high")
    lab.run("maintenance", "add", "--lab", "B-7", "--weekly", "Sat-Sun")
    return lab


# findings C6
def test_a_lab_takes_its_rules_and_silences_along_only_after_a_yes(furnished):
    lab = furnished
    refused = lab.run("labs", "remove", "B-7", code=2).stderr.splitlines()
    assert [line.split(" (")[0] for line in refused[:3]] == [
        "also removed: rule 21",
        "also removed: silence 1",
        "also removed: maintenance 2",
    ] or len(refused) == 4
    assert refused[-1] == "labmon: Remove lab 1, B-7? Confirm with --yes"
    code, output = on_a_terminal(lab, "labs remove B-7", "n\n")
    assert (code, output.endswith("nothing was changed\n")) == (0, True)
    assert "Remove lab 1, B-7? [y/N]" in output
    assert "B-7" in lab.run("labs", "list").stdout
    code, output = on_a_terminal(lab, "labs remove B-7", "y\n")
    assert (code, output.endswith("lab 1 removed; 0 systems without a lab now\n")) == (0, True)
    assert lab.run("maintenance", "list").stdout == ""


# findings C6
@pytest.mark.parametrize("command", ["alerts rules remove disk_full", "maintenance remove 2"])
def test_removing_asks_on_a_terminal_and_yes_is_an_answer(furnished, command):
    code, output = on_a_terminal(furnished, command, "n\n")
    assert (code, output.endswith("nothing was changed\n")) == (0, True)
    furnished.run(*command.split(), "--yes")
    assert "there is no" in furnished.run(*command.split(), "--yes", code=2).stderr


# findings C12
@pytest.mark.parametrize(
    "command, named",
    [
        ("systems list --dept 2", "there is no department 2. Known: 1"),
        ("labs list --dept 11", "there is no department 11. Did you mean 1?"),
        ("metrics latest --dept 9", "there is no department 9"),
        ("metrics top --dept 9", "there is no department 9"),
        ("metrics summary --dept 9", "there is no department 9"),
        ("metrics latest --lab B7", "there is no lab 'B7'. Did you mean B-7?"),
        ("systems list --lab B-77", "there is no lab 'B-77'. Did you mean B-7?"),
        (
            "labs set A-1 --dept 9",
            "(make it: labmon departments set 9 --name NAME). Known: 1",
        ),
        ("maintenance add --dept 9 --for 2h", "there is no department 9. Known: 1"),
        ("alerts list --dept 9", "there is no department 9"),
        ("alerts list --rule cpu_hihg", "Did you mean cpu_high?"),
        ("alerts history --rule cpu_hihg", "Did you mean cpu_high?"),
        ("systems history --change mvoed", "there is no change 'mvoed'. Did you mean moved?"),
        ("systems history --scan 7", "there is no scan 7"),
        ("systems list --status ofline", "there is no status 'ofline'. Did you mean offline?"),
        ("events show --from 1h --to 2h", "is not before --to"),
        ("events show --from 2999-01-01", "is not before --to now"),
        ("replay --queue metrics --from 1h --to 2h", "is not before --to"),
        ("metrics range 1 cpu --from 1h --to 2h", "is not before --to"),
        ("maintenance add --all --from 2030-02-01 --to 2030-01-01", "is not before --to"),
        ("config schema metrisc", "Did you mean metrics?"),
    ],
)
def test_a_name_or_a_time_that_can_match_nothing_is_an_error(furnished_once, command, named):
    done = furnished_once.run(*command.split(), code=2)
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.fixture(scope="module")
def furnished_once(postgres_server, schema_template):
    with postgres_server.database(schema_template) as name, temporary_lab() as lab:
        lab.environ["LABMON_DATABASE_URL"] = postgres_server.url(name)
        lab.run("departments", "set", "1")
        lab.run("labs", "set", "B-7", "--dept", "1")
        yield lab


# findings B5, E7
@pytest.mark.parametrize(
    "arguments",
    [
        ["labs", "remove", "a\nlabmon: forged \x1b[2J"],
        ["alerts", "list", "--rule", "a\nlabmon: forged \x1b[2J"],
        ["systems", "history", "--change", "a\nlabmon: forged \x1b[2J"],
        ["dead-letters", "list", "a\nlabmon: forged \x1b[2J"],
        ["frob\nlabmon: forged \x1b[2J"],
    ],
)
def test_an_error_is_one_line_whatever_it_quotes(furnished_once, arguments):
    done = furnished_once.run(*arguments, code=2)
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr


# findings B5, E7
def test_what_others_wrote_makes_no_line_and_no_formula(lab, store_url):
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url) as connection:
        connection.execute("INSERT INTO departments (dept_id, name) VALUES (1, '=HYPERLINK(1)'), (2, '@x')")
        connection.execute("INSERT INTO departments (dept_id, name) VALUES (3, E'a\\nb\\u009b31m')")
        connection.execute("INSERT INTO systems (system_id, dept_id) OVERRIDING SYSTEM VALUE VALUES (1, 1)")
    lab.run("setup-queues")
    body = '{\n "system_id": 1, "collected_at": "%s", "metrics": {"cpu_percent": 5}, "x": "\u202e\u2028"}'
    with psycopg.connect(store_url) as connection:
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        connection.execute("SELECT labmon_publish('metrics_queue', %s)", [body % at])
    assert "metrics_queue: 1 stored" in lab.run("consume", "--until-empty").stderr
    shown = lab.run("events", "show").stdout.splitlines()
    assert len(shown) == 2
    assert r'{\n "system_id"' in shown[1]
    assert r"\u202e\u2028" in shown[1]
    names = [line.split(",")[2] for line in lab.run("departments", "list", "-f", "csv").stdout.splitlines()]
    assert names == ["name", "'=HYPERLINK(1)", "'@x", r"a\nb\x9b31m"]
    assert r"a\nb\x9b31m" in lab.run("departments", "list").stdout


# findings B9
@pytest.mark.parametrize(
    "password",
    ["hun/ter2", "hun://ter2", "hun@ter2", "hun?ter2", b"hun\xffter2".decode("utf-8", "surrogateescape")],
)
@pytest.mark.parametrize("command", ["systems list", "doctor", "db status", "config show"])
def test_no_part_of_a_password_is_printed(lab, command, password):
    url = f"postgresql://me:{password}@127.0.0.1:1/lab"
    done = lab.run(*command.split(), code=None, LABMON_DATABASE_URL=url)
    for piece in ("hun", "ter2", "/ter"):
        assert piece not in (done.stdout + done.stderr).replace("/tmp", "")
    if command == "systems list":
        assert "[database] url" in done.stderr


# findings C10
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root becomes another")
@pytest.mark.parametrize(
    "command, code",
    [("collect --host 127.0.0.1 --port 1", 6), ("config show", 0), ("spool status", 0), ("doctor", None)],
)
def test_an_account_without_a_home_and_without_a_name_is_no_obstacle(lab, command, code):
    if subprocess.run(["setpriv", "--reuid", "4242", "test", "-x", LABMON]).returncode:
        pytest.skip("the folder of the tests is closed to others")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lab.folder / "key"], check=True)
    (lab.folder / "state").mkdir()
    for path in (lab.folder / "key", lab.folder / "state"):
        os.chown(path, 4242, 4242)
    ours = {
        "PATH": os.environ["PATH"],
        "LABMON_STATE_DIR": str(lab.folder / "state"),
        "LABMON_DATABASE_URL": "postgresql://x@127.0.0.1:1/x",
        "LABMON_COLLECT_USER": "root",
        "LABMON_COLLECT_KEY_FILES": str(lab.folder / "key"),
    }
    account = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"]
    done = subprocess.run(
        [*account, LABMON, *command.split()], env=ours, cwd="/", capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    assert code is None or done.returncode == code, done.stderr
    del ours["LABMON_STATE_DIR"]
    done = subprocess.run(
        [*account, LABMON, "spool", "status"], env=ours, cwd="/", capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "LABMON_STATE_DIR" in done.stderr


@contextmanager
def one_that_hangs(lab):
    """Two machines: one where nothing listens, and one that is connected to and says nothing."""
    with socket.create_server(("127.0.0.2", 0)) as silent:
        lab.environ["LABMON_COLLECT_PORT"] = str(silent.getsockname()[1])
        lab.environ["LABMON_COLLECT_PASSWORD"] = "secret"
        lab.run("scan", "127.0.0.1-2", "--dept", "1", "--type", "ping", "--no-names", "--quiet")
        yield silent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_ends_a_collection_with_its_table_and_the_number(stored_lab, number):
    lab = stored_lab
    with (
        one_that_hangs(lab) as silent,
        lab.start("collect", "--all", "--deadline", "5m", start_new_session=True) as process,
    ):
        with silent.accept()[0]:
            process.send_signal(number)
            printed, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert printed.startswith("ID  Address")  # and the machines that were measured by then
    assert "interrupted: what was measured by then is kept" in said


def test_a_terminal_that_is_closed_ends_a_collection_as_a_signal_does(stored_lab):
    lab = stored_lab
    results = lab.folder / "results"
    with one_that_hangs(lab) as silent:
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(lab.folder)
            os.dup2(os.open(results, os.O_WRONLY | os.O_CREAT), 1)
            os.execve(LABMON, [LABMON, "collect", "--all", "--deadline", "5m"], lab.env)
        connected, _ = silent.accept()
        os.close(terminal)
        _, status = os.waitpid(child, 0)
        connected.close()
    assert os.waitstatus_to_exitcode(status) == 129
    assert results.read_text().startswith("ID  Address")
