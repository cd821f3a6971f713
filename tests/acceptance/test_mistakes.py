"""What a user reads after a mistake: one line that names it and the next step, in labmon's own words."""

import os
import subprocess

import pytest

from tests.acceptance.conftest import LABMON, temporary_lab

RAW = (
    "Input should",
    "Value error",
    "unable to parse",
    "matching regex",
    "`float`",
    "relation",
    "codec",
    "formats",
    "cryptography",
    "deserialize",
)
"""Words of validators, drivers and Python."""


@pytest.fixture(scope="module")
def site(postgres_server, schema_template, warm_labmon):
    """Two machines in department 1, found and not measured; no queues."""
    with postgres_server.database(schema_template) as name, temporary_lab() as lab:
        lab.environ["LABMON_DATABASE_URL"] = postgres_server.url(name)
        lab.warm = warm_labmon
        lab.run("departments", "set", "1")
        lab.run("scan", "127.0.0.1-2", "--dept", "1", "--no-names", "--quiet")
        (lab.folder / "utf16").write_text("10.0.0.1\n", encoding="utf-16")
        (lab.folder / "binary").write_bytes(b"\x7fELF\0\0\1")
        (lab.folder / "public").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG pc@lab\n")
        begin, end = (f"-----{word} OPENSSH PRIVATE KEY-----\n" for word in ("BEGIN", "END"))
        (lab.folder / "damaged").write_text(f"{begin}b3BlbnNzaC1rZXktdjE\n{end}")
        os.mkfifo(lab.folder / "fifo")
        yield lab


@pytest.mark.parametrize(
    "command, said",
    [
        (
            "systems show localhost",
            "no system, lab or department is called 'localhost'. See: labmon systems list",
        ),
        ("systems set 1 --status foo", "'foo' is not one of its values, maintenance, active"),
        ("metrics top --limit 0", "--limit N: expected at least 1."),
        ("metrics range 1 cpu --points 9999999", "--points N: expected at most 100000."),
        ("queue-depth --interval x", "--interval N: expected a number."),
        ("queue-depth --interval nan", "--interval N: expected at least 0.1"),
        ("alerts rules add x --metric cpu_percent --above nan", "threshold: expected a number between"),
        ("alerts rules set cpu_high --clear inf", "clear: expected a number between"),
        ("alerts rules add =x|y --metric cpu_percent --above 3", "name: Small letters, digits and _"),
        ("alerts rules add x --metric cpu_percent --above 3 --severity bad", "severity: There are: info"),
        (
            "scan 127.0.0.1",
            "--dept DEPT is missing (the department that they belong to: its number, name or code). "
            "Such as: labmon scan ",
        ),
        ("labs set", "LAB is missing (the lab's name or number). Such as: labmon labs set A-101 --dept 1"),
        ("systems lst", "there is no command 'lst'. Did you mean list?"),
        ("frobnicate", "there is no command 'frobnicate'. See: labmon --help"),
        ("scan --dep 1", "there is no option --dep. Did you mean --dept?"),
        ("labs list --frobnicate", "there is no option --frobnicate. See: "),
        ("scan @utf16 --dept 1", "utf16: cannot be read as text: UTF-16, not UTF-8: save it as UTF-8"),
        ("scan @binary --dept 1", "binary: cannot be read as text: byte 4 is zero"),
        ("alerts rules import utf16", "utf16: not text: UTF-16, not UTF-8"),
        ("-c . systems list", "is a folder. Name the file in it: config.toml"),
        (
            "collect --dept 7",
            "(find some: labmon scan 10.30.5.0/24 --dept 7). Known: 1",
        ),
        ("db unpack 2026-13-01", "DAY: expected a day, such as 2026-03-01."),
        ("db pack yesterday", "DAY: expected a day, such as 2026-03-01."),
        ("collect --host 127.9.0.1:22", "Write: --host 127.9.0.1 --port 22"),
        ("collect --host root@127.9.0.1", "Write: --host 127.9.0.1 --user root"),
        ("collect --host [fd00:99::1]", "Write: --host fd00:99::1, without brackets"),
        (
            "collect --host ssh://root@[fd00:99::1]:22",
            "--host fd00:99::1 --user root --port 22, without",
        ),
        ("collect --host a..b", "'a..b' is neither an address nor a name, such as 10.30.5.7 or pc-17"),
        ("collect --all --key utf16", "utf16: this is no private key. Name a file such as ~/.ssh/id_ed25519"),
        ("collect --all --key public", "public: this is a public key, no private key. Name the file without"),
        ("collect --all --key damaged", "damaged: no private key can be read from it: it is damaged."),
        ("scan @fifo --dept 1", "fifo is no regular file. Name a file with a list of networks"),
        ("scan @/dev/zero --dept 1", "/dev/zero is no regular file."),
        ("scan @. --dept 1", ".: cannot be read: Is a directory"),
        ("systems trust --dept 7", "department 7 has no machine with an address"),
        ("systems set 1 --shared-mac", "system 1 has no MAC address that could be shared"),
        ("systems set 1 2 --hostname pc", "--hostname and --seat are of one system, and several are given"),
        ("systems set 1 --hostname =pc", "--hostname '=pc' is no name for a machine, such as pc-17"),
        ("systems set 1 --hostname pc\u202e", "--hostname 'pc\\u202e' is no name for a machine"),
        ("departments set 1 --name @SUM", "--name '@SUM' is no name for a department"),
        ("labs set =x|y --dept 1", "'=x|y' is no name for a lab, such as A-101"),
        ("maintenance add --all --weekly Mon_02:00-02:00", "ends when it begins. For whole days write 'Mon'"),
        (
            "maintenance add --all --weekly Mon_2:00-Mon_2:00",
            "For the whole week: Mon-Sun",
        ),
    ],
)
def test_a_mistake_is_one_line_with_the_next_step(site, command, said):
    done = site.run(*(word.replace("_0", " 0").replace("_2", " 2") for word in command.split()), code=2)
    assert said in done.stderr
    assert not [word for word in RAW if word in done.stderr]
    assert (len(done.stderr.splitlines()), done.stdout) == (1, "")


@pytest.mark.parametrize(
    "command, said",
    [
        ("metrics latest", "none of them was measured lately. Measure with: labmon collect --all\n"),
        ("metrics summary", "none of them was measured lately. Measure with: labmon collect --all\n"),
        ("metrics top", "no recent readings of cpu_percent. Measure with: labmon collect --all\n"),
        (
            "systems set 1 2 --port 2222 --status active",
            "system 1: active, port 2222\nsystem 2: active, port 2222\n",
        ),
        ("systems set 2 --port 0 --no-lab", "system 2: port as configured\n"),
        ("departments set 1 --subnet 127.0.0.0/30", "department 1: 127.0.0.0/30\n"),
        ("departments set 4 --name Physics", "department 4, Physics: no subnets\n"),
    ],
)
def test_a_command_without_results_says_what_it_did_or_what_to_do(site, command, said):
    assert site.run(*command.split()).stderr == said


def test_before_there_are_queues_their_depth_is_one_line_that_names_the_command(site):
    said = site.run("queue-depth", code=4).stderr
    assert said.endswith("there are no queues yet. Run: labmon setup-queues\n")
    assert not [word for word in RAW if word in said]
    for command in ("dead-letters list metrics", "dead-letters purge metrics --yes"):
        assert "labmon setup-queues" in site.run(*command.split(), code=4).stderr


def test_purging_what_is_empty_asks_nothing_and_says_so(stored_lab):
    stored_lab.run("setup-queues")
    said = stored_lab.run("dead-letters", "purge", "metrics").stderr
    assert said == "no dead letters in metrics_queue\n"
    said = stored_lab.run("dead-letters", "purge", "metrics", "--reason", "expired", "--yes").stderr
    assert said == "no dead letters with such a reason in metrics_queue\n"


def test_planned_times_have_their_year_and_zone(site, monkeypatch):
    monkeypatch.setattr(site, "warm", None)  # a process has its time zone from its start
    said = site.run("maintenance", "add", "--all", "--weekly", "Mon 02:00-04:00", TZ="Europe/Berlin").stderr
    assert " CET\n" in said or " CEST\n" in said
    shown = site.run("maintenance", "list", TZ="Asia/Tokyo").stdout
    assert "Mon 02:00-04:00  Europe/Berlin" in shown and " JST " in shown


@pytest.mark.parametrize(
    "command",
    ["--help", "--version", "systems list", "systems list -f json", "alerts rules export", "doctor"],
)
def test_output_that_cannot_be_written_is_one_line_and_a_reader_that_has_enough_is_none(site, command):
    def run(stdout):
        return subprocess.run(
            [LABMON, *command.split()], env=site.env, cwd=site.folder, stdout=stdout, stderr=subprocess.PIPE
        )

    with open("/dev/full", "wb") as full:
        done = run(full)
    said = done.stderr.decode().splitlines()
    assert done.returncode == 3
    assert said[-1].startswith("labmon: the output cannot be written: No space left on device. Make room")
    assert len(said) == 1
    reader, writer = os.pipe()
    os.close(reader)
    done = run(writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_messages_that_cannot_be_written_change_no_exit_code(site):
    for command, code in (("systems show x", 2), ("departments set 1", 0)):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([LABMON, *command.split()], env=site.env, cwd=site.folder, stderr=full)
        assert done.returncode == code


@pytest.mark.parametrize("url", ["postgresql://labmon:a/b@db/x", "host='db", "mysql://x@db/x"])
def test_an_address_of_the_database_that_cannot_be_read_is_a_wrong_configuration(lab, url):
    for command in ("systems list", "collect --all", "queue-depth"):
        done = lab.run(*command.split(), code=2, LABMON_DATABASE_URL=url)
        assert "[database] url" in done.stderr


def test_a_state_folder_of_everybody_is_refused_wherever_something_is_opened_in_it(site):
    folder = site.folder / "open"
    folder.mkdir()
    folder.chmod(0o777)
    commands = ["spool status", "spool flush", "scan 127.0.0.1 --dept 1", "collect --all", "systems trust"]
    for command in commands:
        said = site.run(*command.split(), code=3, LABMON_STATE_DIR=str(folder)).stderr
        assert f"{folder} may be written by everybody" in said and f"chmod go-w {folder}" in said
    assert not list(folder.iterdir())
    doctor = site.run("doctor", code=None, LABMON_STATE_DIR=str(folder)).stdout
    assert "may be written by everybody" in doctor
    site.run("systems", "list", LABMON_STATE_DIR=str(folder))  # nothing of it is in there


@pytest.mark.parametrize(
    "option, said",
    [
        ("bogus=1", "PostgreSQL has no option bogus"),
        ("ssl_mode=require", "PostgreSQL has no option ssl_mode. Did you mean sslmode?"),
        ("sslmode=require&conect_timeout=3", "no option conect_timeout. Did you mean connect_timeout?"),
    ],
)
def test_an_unknown_option_of_the_databases_url_is_named(lab, option, said):
    url = f"postgresql://labmon:hunter2@127.0.0.1:1/labmon?{option}"
    for command in ("systems list", "config check"):
        done = lab.run(*command.split(), code=2, LABMON_DATABASE_URL=url)
        assert said in done.stderr and "hunter2" not in done.stderr


@pytest.mark.parametrize("command", ["systems list", "systems list -f json", "config schema alert"])
def test_a_closed_stdout_is_output_that_cannot_be_written(site, command):
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" {command} >&-', LABMON],
        env=site.env,
        cwd=site.folder,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "labmon: the output cannot be written: Bad file descriptor. Make room, or send it elsewhere\n"
    )


def test_an_unknown_time_zone_is_warned_of_once(site, monkeypatch):
    monkeypatch.setattr(site, "warm", None)
    said = site.run("systems", "history", TZ="Bogus").stderr
    assert said.count("there is no time zone 'Bogus' (TZ)") == 1
    assert "time zone" not in site.run("systems", "history", TZ="Europe/Berlin").stderr


def test_a_maintenance_begins_at_no_time_that_does_not_exist(site, monkeypatch):
    monkeypatch.setattr(site, "warm", None)
    command = ["maintenance", "add", "--all", "--from", "2027-03-28 02:30", "--for", "1h"]
    said = site.run(*command, code=2, TZ="Europe/Berlin").stderr
    assert "2027-03-28 02:30 does not exist: the clocks go from 02:00 to 03:00 on that day" in said
    assert "2027" not in site.run("maintenance", "list").stdout
