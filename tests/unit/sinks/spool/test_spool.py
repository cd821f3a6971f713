"""The spool: order, durability, its bounds, and every kind of damage."""

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labmon.app.open import open_spool
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.config.units import Bytes
from labmon.errors import ConfigError, Exit
from labmon.sinks.spool.spool import SMALLEST, Spool, SpoolError

DAY = 86400.0
MIB = 2**20


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def spool(tmp_path, clock):
    return Spool(tmp_path / "state" / "spool.db", max_bytes=64 * MIB, max_age=7 * DAY, clock=clock)


def messages(start, stop, size=10):
    return [Message(str(n), b"x" * size, "metrics.collected", n % 3 == 0) for n in range(start, stop)]


def everything(spool, limit=500):
    """Take out all there is, as a drain does: the queues with their messages, in batches of `limit`."""
    out = []
    while batch := spool.oldest(limit):
        assert len(out) < 100_000, "this does not end"
        out += [(queue, one) for queue, found in batch.messages.items() for one in found]
        spool.remove(batch)
    return out


def ids(spool):
    return [int(one.id) for _, one in everything(spool)]


def sql(spool, statement, *values):
    with closing(sqlite3.connect(spool.path)) as db:
        db.execute(statement, values)
        db.commit()


def test_what_was_appended_comes_out_unchanged_and_in_order(spool):
    spool.append("metrics_queue", messages(0, 3))
    spool.append("discovery_queue", messages(3, 5))
    spool.append("metrics_queue", [Message("é\0", bytes(range(256)), "", True)])
    assert spool.count() == 6
    out = everything(spool, limit=1)
    assert [queue for queue, _ in out] == ["metrics_queue"] * 3 + ["discovery_queue"] * 2 + ["metrics_queue"]
    assert [one for _, one in out] == [*messages(0, 5), Message("é\0", bytes(range(256)), "", True)]
    assert spool.is_empty()


def test_a_batch_is_by_queue_and_stays_until_it_is_removed(spool):
    for n in range(6):
        spool.append("ab"[n % 2], messages(n, n + 1))
    batch = spool.oldest(5)
    assert {queue: [one.id for one in found] for queue, found in batch.messages.items()} == {
        "a": ["0", "2", "4"],
        "b": ["1", "3"],
    }
    assert batch.count == 5
    assert spool.oldest(5) == batch
    spool.remove(batch)
    spool.append("a", messages(6, 7))
    spool.remove(batch)  # once more, after a crash perhaps
    assert ids(spool) == [5, 6]


def test_numbers_are_not_used_again_so_a_late_removal_takes_nothing_new(spool):
    spool.append("q", messages(0, 3))
    slow = spool.oldest()
    spool.remove(spool.oldest())
    spool.append("q", messages(3, 6))
    spool.remove(slow)
    assert ids(spool) == [3, 4, 5]


def test_looking_makes_no_file(spool):
    assert (spool.is_empty(), spool.count(), spool.oldest(), spool.status().messages) == (True, 0, None, 0)
    assert spool.fill() == 0
    spool.append("q", [])
    assert not spool.path.parent.exists()


def test_the_files_are_for_their_owner_alone(spool):
    spool.append("q", messages(0, 1))
    with spool.draining():
        made = {path.name: path.stat().st_mode & 0o777 for path in spool.path.parent.iterdir()}
    assert made == dict.fromkeys(
        ["spool.db", "spool.db-journal", "spool.db.lock", "spool.db.draining"], 0o600
    )


def test_it_lies_in_the_state_folder_with_the_configured_bounds(tmp_path):
    environ = {"LABMON_STATE_DIR": str(tmp_path), "LABMON_SPOOL_MAX_BYTES": "2MiB"}
    spool = open_spool(load(environ=environ | {"LABMON_SPOOL_MAX_AGE": "1h"}).config)
    status = spool.status()
    assert (status.file, status.max_bytes, status.max_age) == (str(tmp_path / "spool.db"), 2 * MIB, 3600.0)
    default = open_spool(load(environ={}).config).status()
    assert (default.max_bytes, default.max_age) == (256 * MIB, 7 * DAY)


@pytest.mark.parametrize(
    "written, size", [("1048576", MIB), ("2048KiB", 2 * MIB), ("256 MiB", 256 * MIB), ("2GiB", 2048 * MIB)]
)
def test_its_size_is_configured_as_people_write_sizes(written, size):
    assert load(environ={"LABMON_SPOOL_MAX_BYTES": written}).config.spool.max_bytes == size
    assert Bytes.parse(str(Bytes(size))) == size


@pytest.mark.parametrize("written", ["-1", "1.5MiB", "10 MB", "64KiB", "much", "٣"])
def test_a_size_that_is_none_is_refused(written):
    with pytest.raises(ConfigError, match=r"\[spool\] max_bytes: expected (a size|at least 1MiB)"):
        load(environ={"LABMON_SPOOL_MAX_BYTES": written})


def test_the_status_counts_by_queue_and_tells_the_oldest(spool, clock):
    spool.append("q", messages(0, 3))
    clock.now += 60
    spool.append("p", messages(0, 2))
    status = spool.status()
    assert [(one.queue, one.messages, one.oldest_at.timestamp()) for one in status.queues] == [
        ("p", 2, clock.now),
        ("q", 3, clock.now - 60),
    ]
    assert (status.messages, status.oldest_at.timestamp()) == (5, clock.now - 60)
    assert 0 < status.bytes <= 64 * 1024
    everything(spool)
    assert (spool.status().messages, spool.status().bytes, spool.status().oldest_at) == (0, 0, None)
    assert spool.fill() == 0


def test_the_file_shrinks_when_it_is_emptied(spool):
    spool.append("q", messages(0, 500, size=5000))
    assert spool.path.stat().st_size > 2 * MIB
    everything(spool)
    assert spool.path.stat().st_size < 64 * 1024
    spool.append("q", messages(500, 501))
    assert ids(spool) == [500]


# The bounds


def test_past_its_size_the_oldest_are_dropped_counted_and_logged_once(tmp_path, caplog):
    spool = Spool(tmp_path / "spool.db", max_bytes=2 * MIB, max_age=7 * DAY)
    total = 10_000
    for start in range(0, total, 500):
        spool.append("q", messages(start, start + 500, size=500))
        assert spool.status().bytes <= 2 * MIB
    status = spool.status()
    assert status.bytes > 1.9 * MIB
    assert spool.fill() == pytest.approx(100 * status.bytes / (2 * MIB))
    assert 0 < status.dropped_for_room == spool.dropped == total - status.messages
    assert status.last_dropped_at is not None
    assert status.dropped_for_age == 0
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "max_bytes" in record.message
    assert ids(spool) == list(range(status.dropped_for_room, total))
    assert Spool(spool.path, max_bytes=MIB, max_age=DAY).status().dropped_for_room == status.dropped_for_room
    # The file itself keeps to the bound, but for the one batch that is in before the others are out.
    assert spool.path.stat().st_size <= 3 * MIB


def test_a_batch_larger_than_the_bound_keeps_its_newest(tmp_path):
    spool = Spool(tmp_path / "spool.db", max_bytes=0, max_age=7 * DAY)
    spool.append("q", messages(0, 100, size=60_000))
    kept = ids(spool)
    assert kept == list(range(100 - len(kept), 100))
    assert 10 < len(kept) <= SMALLEST // 60_000


def test_past_their_age_they_are_dropped_when_others_come(spool, clock, caplog):
    spool.append("q", messages(0, 5))
    clock.now += 6 * DAY
    spool.append("q", messages(5, 10))
    clock.now += 2 * DAY
    assert spool.count() == 10  # a machine that was off for weeks still sends what it has
    spool.append("q", messages(10, 15))
    assert "max_age" in caplog.text
    assert (spool.status().dropped_for_age, spool.status().dropped_for_room) == (5, 0)
    assert ids(spool) == list(range(5, 15))


def test_a_clock_that_was_ahead_for_a_while_drops_nothing_behind_it(spool, clock):
    clock.now += 365 * DAY
    spool.append("q", messages(0, 5))
    clock.now -= 365 * DAY
    spool.append("q", messages(5, 10))
    clock.now += 8 * DAY
    spool.append("q", messages(10, 15))
    assert ids(spool) == list(range(15))


# Damage


@pytest.mark.parametrize(
    "column, value",
    [
        ("body", b"y"),
        ("body", None),
        ("body", 5),
        ("id", "other"),
        ("id", b"\xff\xfe"),
        ("queue", "other"),
        ("routing_key", b"\xff"),
        ("high", 7),
        ("high", b"\xff"),
        ("spooled_at", 5),
        ("spooled_at", 2**62),
        ("spooled_at", b"\xff"),
        ("checksum", 0),
    ],
)
def test_a_corrupt_message_is_skipped_and_counted(spool, caplog, column, value):
    spool.append("q", messages(0, 10))
    if value is None:  # damage knows no constraints
        sql(spool, "PRAGMA ignore_check_constraints = ON")
        value = ""
    sql(spool, f"UPDATE message SET {column} = ? WHERE id = '4'", value)
    spool.status()  # whatever is in there, it can be shown
    assert "message 5 is corrupt" not in caplog.text
    assert ids(spool) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert "message 5 is corrupt" in caplog.text
    assert spool.status().corrupt == 1


def test_corrupt_messages_alone_do_not_stop_the_others(spool):
    spool.append("q", messages(0, 10))
    sql(spool, "UPDATE message SET checksum = 0 WHERE seq <= 6")
    assert [int(one.id) for _, one in everything(spool, limit=3)] == [6, 7, 8, 9]
    assert spool.status().corrupt == 6


def set_aside(spool):
    return sorted(spool.path.parent.glob("spool.db.corrupt-*Z"))


@pytest.mark.parametrize("garbage", [b"garbage " * 1000, bytes(8192), b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_spool_is_set_aside_and_a_new_one_begun(spool, caplog, garbage):
    spool.path.parent.mkdir()
    spool.path.write_bytes(garbage)
    spool.append("q", messages(0, 3))
    (aside,) = set_aside(spool)
    assert aside.read_bytes() == garbage
    assert aside.name in caplog.text and "0 messages saved" in caplog.text
    assert spool.status().set_aside == 1
    assert ids(spool) == [0, 1, 2]


def test_damage_in_the_middle_leaves_what_is_before_and_after_it(spool, caplog):
    spool.append("q", messages(0, 2000, size=400))
    sql(spool, "INSERT INTO tally VALUES ('corrupt', 3, 0)")
    size = spool.path.stat().st_size
    with spool.path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(os.urandom(3 * 4096))
    saved = ids(spool)
    assert 1500 < len(saved) < 2000
    assert saved == sorted(saved)
    assert (saved[0], saved[-1]) == (0, 1999)
    assert len(set_aside(spool)) == 1
    assert "messages saved" in caplog.text
    assert (spool.status().set_aside, spool.status().corrupt) == (1, 3)


def test_a_torn_file_leaves_what_was_not_torn_off(spool):
    spool.append("q", messages(0, 2000, size=400))
    os.truncate(spool.path, spool.path.stat().st_size // 2 + 100)
    spool.append("q", messages(2000, 2001))
    saved = ids(spool)
    assert saved[-1] == 2000
    assert saved == sorted(saved)
    assert len(set_aside(spool)) == 1


def test_a_batch_in_hand_when_the_file_is_replaced_goes_out_again_and_no_other_is_lost(spool):
    spool.append("q", messages(0, 10))
    batch = spool.oldest()
    spool.path.write_bytes(b"garbage" * 1000)
    spool.append("q", messages(10, 15))
    spool.remove(batch)
    assert ids(spool) == [10, 11, 12, 13, 14]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_is_fatal(data):
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool.db", max_bytes=64 * MIB, max_age=7 * DAY)
        spool.append("q", messages(0, 300, size=200))
        content = bytearray(spool.path.read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            start = data.draw(st.integers(0, len(content) - 1))
            length = data.draw(st.sampled_from([1, 4, 100, 4096]))
            junk = random.Random(data.draw(st.integers(0, 99))).randbytes(length)
            content[start : start + length] = junk
        spool.path.write_bytes(content[: data.draw(st.integers(100, len(content)))])
        try:
            spool.append("q", messages(300, 310))
            out = [one for _, one in everything(spool)]
        except SpoolError as error:  # a header that says another format, or an unknown journal
            assert str(error).startswith(str(spool.path)), error
            return
        good = messages(0, 300, size=200) + messages(300, 310)
        assert [one for one in out if one not in good] == []
        assert [int(one.id) for one in out] == sorted({int(one.id) for one in out})
        spool.append("q", good[:1])
        assert ids(spool) == [0]


def test_a_newer_format_is_left_alone(spool):
    spool.append("q", messages(0, 1))
    sql(spool, "PRAGMA user_version = 99")
    with pytest.raises(SpoolError, match="newer labmon") as caught:
        spool.append("q", messages(1, 2))
    assert caught.value.exit_code == Exit.BROKER
    assert set_aside(spool) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    spool = Spool(tmp_path / "file" / "state" / "spool.db", max_bytes=MIB, max_age=DAY)
    with pytest.raises(SpoolError, match=r"state/spool\.db: Not a directory"):
        spool.append("q", messages(0, 1))


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=711", "labmon-test", str(folder)]
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this system mounts no tmpfs: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_takes_nothing_that_was_kept(tiny_disk):
    spool = Spool(tiny_disk / "spool.db", max_bytes=64 * MIB, max_age=7 * DAY)
    kept = 0
    with pytest.raises(SpoolError, match="the disk is full"):
        for kept in range(0, 20_000, 100):
            spool.append("q", messages(kept, kept + 100, size=300))
    assert kept > 2000
    # Somebody else takes the last bytes: what is there can be read, sent and removed all the same.
    with (tiny_disk / "other").open("wb", buffering=0) as other:
        try:
            while other.write(b"x" * 4096):
                pass
        except OSError:
            pass
    assert spool.count() == kept
    batch = spool.oldest(100)
    assert [int(one.id) for one in batch.messages["q"]] == list(range(100))
    with pytest.raises(SpoolError, match="the disk is full"):
        spool.append("q", messages(0, 100, size=300))
    (tiny_disk / "other").unlink()
    assert ids(spool) == list(range(kept))
    spool.append("q", messages(0, 1))


# Several processes

APPENDER = """
import sys
from pathlib import Path
from labmon.brokers.base import Message
from labmon.sinks.spool.spool import Spool

spool = Spool(Path(sys.argv[1]), max_bytes=2**30, max_age=1e9)
name, batches, size = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for number in range(batches):
    batch = [Message(f"{name}-{number}-{n}", b"x" * 300, "k") for n in range(size)]
    spool.append("q", batch)
    print(number, flush=True)
"""


def appender(spool, name, batches, size):
    arguments = [str(spool.path), name, str(batches), str(size)]
    return subprocess.Popen([sys.executable, "-c", APPENDER, *arguments], stdout=subprocess.PIPE, text=True)


def test_many_processes_append_and_each_ones_order_is_kept(spool):
    running = [appender(spool, name, 40, 25) for name in "abcd"]
    for process in running:
        process.communicate(timeout=60)
        assert process.returncode == 0
    found = [one.id.split("-") for _, one in everything(spool)]
    assert len(found) == 4 * 40 * 25
    for name in "abcd":
        numbers = [(int(number), int(n)) for who, number, n in found if who == name]
        assert numbers == [(number, n) for number in range(40) for n in range(25)]


def test_sigkill_loses_nothing_that_was_acknowledged(spool):
    acknowledged = {}
    for round_ in range(8):
        process = appender(spool, str(round_), 100_000, 50)
        process.stdout.readline()
        time.sleep(random.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=60)[0].split()
        acknowledged[str(round_)] = int(said[-1]) if said else 0
    found = {}
    for one in (one for _, one in everything(spool)):
        who, number, n = one.id.split("-")
        found.setdefault(who, []).append((int(number), int(n)))
    assert set_aside(spool) == []
    for who, last in acknowledged.items():
        numbers = [(number, n) for number in range(last + 1) for n in range(50)]
        assert found[who][: len(numbers)] == numbers
        # At most the one batch that was written and not acknowledged, and that one whole.
        assert len(found[who]) - len(numbers) in (0, 50)


HOLDER = """
import sys, time
from pathlib import Path
from labmon.sinks.spool.spool import Spool

with Spool(Path(sys.argv[1]), max_bytes=2**30, max_age=1e9).draining() as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_one_at_a_time_may_drain_until_it_dies(spool):
    spool.append("q", messages(0, 1))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(spool.path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "True\n"
    with spool.draining() as mine:
        assert not mine
        spool.append("q", messages(1, 2))  # which is nobody's privilege
    holder.kill()
    holder.communicate(timeout=10)
    with spool.draining() as mine, Spool(spool.path, max_bytes=1, max_age=1).draining() as second:
        assert (mine, second) == (True, False)
    with spool.draining() as mine:
        assert mine


# The model: a list


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.sampled_from("abc"), st.integers(1, 7)),
            st.tuples(st.just("send"), st.integers(1, 5), st.booleans()),
            st.tuples(st.just("corrupt"), st.integers(0, 10), st.none()),
        ),
        max_size=40,
    )
)
def test_it_behaves_like_a_list(steps):
    """Whatever happens between them, all that is appended comes out, in order, at least once."""
    with tempfile.TemporaryDirectory() as folder:
        waiting, sent, corrupted, number = [], [], 0, 0
        for what, one, two in [*steps, *[("send", 1000, True)]]:
            spool = Spool(Path(folder) / "spool.db", max_bytes=64 * MIB, max_age=7 * DAY)
            if what == "append":
                spool.append(one, messages(number, number + two))
                waiting += [(one, message) for message in messages(number, number + two)]
                number += two
            elif what == "corrupt" and one < len(waiting) and waiting[one] is not None:
                sql(spool, "UPDATE message SET body = 'z' WHERE id = ?", waiting[one][1].id)
                waiting[one] = None
                corrupted += 1
            elif what == "send" and (batch := spool.oldest(one)) is not None:
                first = [entry for entry in waiting[:one] if entry]
                for queue in {queue for queue, _ in first}:
                    assert batch.messages[queue] == [message for q, message in first if q == queue]
                assert batch.count == len(first)
                if two:  # else a crash, after sending and before removing
                    spool.remove(batch)
                    sent += first
                    del waiting[:one]
            assert spool.count() == len(waiting)
        assert waiting == []
        assert spool.status().corrupt == corrupted
        assert len(sent) == number - corrupted
        assert [int(message.id) for _, message in sent] == sorted(int(message.id) for _, message in sent)


# Whose numbers the messages have (findings A3), and queues one by one (A9)

FORMAT_1 = """
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, routing_key TEXT NOT NULL,
    high INTEGER NOT NULL, spooled_at INTEGER NOT NULL, body BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL, last_at INTEGER NOT NULL);
PRAGMA user_version = 1;
"""


def of_format_1(spool, messages):
    import zlib

    spool.path.parent.mkdir()
    with closing(sqlite3.connect(spool.path)) as db:
        db.executescript(FORMAT_1)
        for one in messages:
            row = (b"q", one.id.encode(), one.routing_key.encode(), int(one.high), 1_700_000_000_000)
            checksum = zlib.crc32(one.body, zlib.crc32(repr(row).encode()))
            db.execute(
                "INSERT INTO message (queue, id, routing_key, high, spooled_at, body, checksum) "
                "VALUES (CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?)",
                (*row, one.body, checksum),
            )
        db.commit()


def test_a_spool_of_the_format_before_is_taken_over(spool):
    of_format_1(spool, messages(0, 5))
    spool.append("q", messages(5, 6), database="one")
    assert spool.status().databases == {"": 5, "one": 1}
    assert [one for _, one in everything(spool)] == messages(0, 6)
    assert (spool.status().corrupt, set_aside(spool)) == (0, [])


def test_a_damaged_spool_of_the_format_before_is_saved_too(spool):
    of_format_1(spool, messages(0, 2000, size=400))
    with spool.path.open("r+b") as file:
        file.seek(spool.path.stat().st_size // 2 // 4096 * 4096)
        file.write(os.urandom(3 * 4096))
    saved = ids(spool)
    assert 1500 < len(saved) < 2000
    assert (saved[0], saved[-1]) == (0, 1999)
    assert len(set_aside(spool)) == 1


def test_messages_of_another_database_stay_and_the_others_come_out(spool):
    spool.append("q", messages(0, 2), database="one")
    spool.append("q", messages(2, 4))
    spool.append("q", messages(4, 6), database="two")
    batch = spool.oldest(database="two")
    assert [one.id for one in batch.messages["q"]] == ["2", "3", "4", "5"]
    spool.remove(batch)
    assert (spool.oldest(database="two"), spool.count(), spool.count(other_than="two")) == (None, 2, 2)
    assert ids(spool) == [0, 1]  # to who knows no database, all


def test_a_queue_may_be_skipped_and_a_batch_removed_in_part(spool):
    for n in range(6):
        spool.append("ab"[n % 2], messages(n, n + 1))
    batch = spool.oldest(4)
    spool.remove(batch, ["b"])
    after = spool.oldest(10, after=batch.last, skip=["a"])
    assert [one.id for one in after.messages["b"]] == ["5"]
    spool.remove(after)
    assert [int(one.id) for _, one in everything(spool)] == [0, 2, 4]


def test_a_database_that_is_damaged_in_the_file_is_a_corrupt_message(spool):
    spool.append("q", messages(0, 3), database="one")
    sql(spool, "UPDATE message SET database = '' WHERE id = '1'")
    assert ids(spool) == [0, 2]
    assert spool.status().corrupt == 1


def test_messages_are_listed_and_dropped_by_queue_and_by_database(spool, clock):
    spool.append("a", messages(0, 2), database="one")
    spool.append("b", messages(2, 5), database="two")
    spool.append("b", messages(5, 6))
    assert [(one.number, one.queue, one.database) for one in spool.browse(3)] == [
        (1, "a", "one"),
        (2, "a", "one"),
        (3, "b", "two"),
    ]
    assert [one.number for one in spool.browse(10, queue="b")] == [3, 4, 5, 6]
    assert [one.number for one in spool.browse(10, queue="b", other_than="one")] == [3, 4, 5]
    assert spool.browse(1)[0].spooled_at.timestamp() == clock.now
    assert spool.drop(queue="b", other_than="one") == 3
    assert spool.drop(queue="none") == 0
    assert spool.count() == 3
    assert (spool.drop(), spool.count(), spool.drop()) == (3, 0, 0)


def test_dropping_and_listing_make_no_file(spool):
    assert (spool.drop(), spool.browse(5)) == (0, [])
    assert not spool.path.parent.exists()


def test_the_file_shrinks_when_all_is_dropped(spool):
    spool.append("q", messages(0, 500, size=5000))
    spool.drop()
    assert spool.path.stat().st_size < 64 * 1024
