"""Nothing that was confirmed is lost, whatever is killed, stopped or full. A test for each row of a table."""

import os
import random
import signal
import subprocess
import time

import pytest

from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.config.load import load
from tests.chaos.harness import LONG, PER_SECOND, SECONDS

pytestmark = pytest.mark.chaos


@pytest.fixture
def judge(request, campus, outcome):
    """Wait for the end, write the row, and insist on it."""

    def verdict(what, *killed):
        accounts = campus.settle()
        outcome(accounts.row(f"{what} ({type(campus.broker).__name__.removesuffix('Server')})"))
        campus.check_workers(*killed)
        assert accounts.confirmed > 0
        assert (accounts.lost, accounts.buried) == (0, 0), accounts
        return accounts

    return verdict


def busy(campus, workers=3):
    for _ in range(workers):
        campus.start_worker()
    campus.start_publisher(PER_SECOND * SECONDS)
    campus.until_some_are_stored()


def three_at_work(campus, supervisor):
    """The three processes. One that had no processor for long is replaced: there may be two for a moment."""
    deadline = time.monotonic() + 60
    while len(found := campus.processes(supervisor)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def supervised(campus):
    """Three worker processes at work, and their supervisor."""
    supervisor = campus.start_worker("--workers", "3")
    three_at_work(campus, supervisor)
    campus.start_publisher(PER_SECOND * SECONDS)
    campus.until_some_are_stored()
    return supervisor


def test_workers_are_killed_at_random(campus, judge):
    busy(campus)
    killed = []
    for _ in range(SECONDS):
        time.sleep(1)
        victim = random.choice([one for one in campus.workers if one not in killed])
        victim.kill()
        killed.append(victim)
        campus.start_worker()
    judge("workers killed at random", *killed)


def test_the_broker_is_killed_and_started_again(campus, judge):
    busy(campus)
    campus.broker.kill()
    time.sleep(1)
    campus.broker.start()
    judge("broker killed and started again")


def test_the_database_is_killed_and_started_again(campus, judge):
    busy(campus)
    campus.store.kill()
    time.sleep(1)
    campus.store.start()
    judge("database killed and started again")


def test_the_database_stands_still(campus, judge):
    busy(campus)
    pids = [campus.store.pid, *_children(campus.store.pid)]
    try:
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        time.sleep(60 if LONG else 6)
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)
    judge("database stands still")


def test_the_publisher_is_killed_in_the_middle(campus, judge):
    busy(campus)
    for _ in range(3):
        time.sleep(1)
        campus.publishers[-1].kill()
        campus.start_publisher(PER_SECOND * SECONDS)
    judge("publisher killed in the middle")


def test_a_poison_message_among_good_ones(campus, judge):
    busy(campus)
    config = load(environ={k: v for k, v in campus.env.items() if k.startswith(("LABMON", "QUEUE"))}).config
    with open_broker(config.queue, store_url=config.database.url) as broker:
        for body in (b"\xff\x00poison", b'{"system_id": 1}', b"{}"):
            broker.publish(config.queue.metrics_queue, [Message.new(body)])
            time.sleep(0.2)
        judge("poison among good ones")
        reasons = [letter.reason for letter in broker.dead_letters(config.queue.metrics_queue)]
    assert sorted(reason.split(":")[0] for reason in reasons) == ["undecodable"] * 3


def test_a_worker_that_dies_again_and_again_buries_nothing(campus, judge):
    """What it has prefetched is delivered again and again, and is good all the same."""
    campus.start_publisher(1000, per_second=100_000).wait(60)
    killed = []
    for _ in range(8):
        worker = campus.start_worker()
        time.sleep(0.9 + random.random() / 5)  # about when it has received, and before it is done
        worker.kill()
        killed.append(worker)
    campus.start_worker()
    judge("worker dying again and again", *killed)


def test_worker_processes_are_killed_and_stopped_at_random(campus, judge):
    """And their supervisor replaces them."""
    supervisor = supervised(campus)
    for second in range(SECONDS):
        time.sleep(1)
        _signal(
            random.choice(campus.processes(supervisor)), signal.SIGSTOP if second % 5 == 2 else signal.SIGKILL
        )
    judge("worker processes killed and stopped at random")
    three_at_work(campus, supervisor)


def test_the_supervisor_is_killed(campus, judge):
    supervisor = supervised(campus)
    orphans = three_at_work(campus, supervisor)
    supervisor.kill()
    campus.start_worker("--workers", "2")
    judge("supervisor killed", supervisor)
    assert not any(_is_alive(pid) for pid in orphans)


def test_the_database_and_a_worker_process_are_killed(campus, judge):
    """The one that replaces it finds no database."""
    supervisor = supervised(campus)
    campus.store.kill()
    _signal(campus.processes(supervisor)[0], signal.SIGKILL)
    time.sleep(3)
    campus.store.start()
    judge("database and worker process killed")


def test_memory_stays_as_it_is(rabbitmq_campus, outcome):
    campus = rabbitmq_campus
    seconds, per_second = int(os.environ.get("SOAK_SECONDS", 600 if LONG else 20)), 1000
    worker = campus.start_worker()
    campus.start_publisher(per_second * seconds, per_second)
    sizes = []
    for _ in range(seconds):
        time.sleep(1)
        sizes.append(_rss(worker.pid))
    accounts = campus.settle()
    early, late = max(sizes[seconds // 4 : seconds // 2]), max(sizes[-seconds // 4 :])
    outcome(
        accounts.row(f"{seconds} s at {per_second}/s: {early:.0f} MiB early, {late:.0f} MiB late (Rabbit)")
    )
    campus.check_workers()
    assert (accounts.confirmed, accounts.lost, accounts.buried) == (per_second * seconds, 0, 0)
    assert late < 150
    assert late < early + 4


def test_the_spool_s_disk_is_full(postgres_campus, outcome):
    """What does not fit is reported to the caller and not in the ledger; what was confirmed comes through."""
    campus = postgres_campus
    state = campus.folder / "state"
    state.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", state]).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        publisher = campus.start_publisher(50_000, per_second=20_000)
        time.sleep(1.5)
        campus.broker.stop()
        assert publisher.wait(120) != 0
        assert "neither sent nor kept" in (campus.folder / "publisher.log").read_text()
        campus.broker.start()
        campus.start_worker()
        campus.publishers.clear()
        accounts = campus.settle()
        outcome(accounts.row("spool's disk full (Postgres)"))
        assert 0 < accounts.confirmed < 50_000
        assert (accounts.lost, accounts.buried) == (0, 0)
    finally:
        campus.close()
        subprocess.run(["umount", state], check=True)


def test_the_leader_s_node_of_a_rabbitmq_cluster_is_killed(cluster_campus, outcome):
    campus = cluster_campus
    assert campus.broker.members("metrics_queue") == 3
    busy(campus)
    campus.broker.leader("metrics_queue").kill()
    accounts = campus.settle()
    outcome(accounts.row("leader of three nodes killed for good (Rabbit)"))
    campus.check_workers()
    assert accounts.confirmed > 0
    assert (accounts.lost, accounts.buried) == (0, 0)


def _children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _rss(pid):
    """MiB."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # ended meanwhile
