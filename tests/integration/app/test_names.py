"""What the words of a command line mean in an inventory: one system, several, none, or too many."""

import io
import sys
from types import SimpleNamespace

import pytest

from labmon.app.names import resolve_system, resolve_systems
from labmon.app.scope import dept_id
from labmon.errors import UsageError

SYSTEMS = [
    (1, "10.0.0.1", "pc01.lab-a.uni.example", "02:00:5e:10:00:01", "A-101", "active"),
    (2, "10.0.0.2", "pc01.lab-b.uni.example", "02:00:5e:10:00:02", "A-101", "offline"),
    (3, "10.0.0.3", "PC02.lab-a.uni.example", None, None, "active"),
    (4, "2001:db8::4", "pc1", "02:00:5e:10:00:04", None, "active"),
    (5, None, "pc02.lab-a.uni.example", None, "A-101", "retired"),
    (6, "10.0.0.6", "b-7", "02:00:5e:10:00:02", None, "active"),
    (10, "10.0.0.10", "7", None, None, "active"),
]


@pytest.fixture
def inventory(connection):
    connection.execute("INSERT INTO departments VALUES (1, 'Physics', 'PHY'), (2, 'Chemistry', NULL)")
    connection.execute(
        "INSERT INTO labs VALUES (1, 1, 'A-101'), (2, 1, 'B-7'), (3, 2, 'Twin'), (4, 1, 'twin')"
    )
    connection.execute("UPDATE labs SET name = 'Twin' WHERE lab_id = 4")
    for number, address, name, mac, lab, status in SYSTEMS:
        connection.execute(
            "INSERT INTO systems (system_id, dept_id, ip_address, hostname, mac_address, lab_id, status) "
            "VALUES (%s, 1, %s, %s, %s, (SELECT lab_id FROM labs WHERE name = %s), %s)",
            [number, address, name, mac, lab, status],
        )
    return connection


@pytest.mark.parametrize(
    "word, number",
    [
        ("1", 1),
        ("10.0.0.3", 3),
        ("2001:DB8:0:0::4", 4),
        ("pc01.lab-a", 1),
        ("PC01.Lab-B.uni.example.", 2),
        ("pc1", 4),
        ("02-00-5E-10-00-01", 1),
        ("0200.5e10.0004", 4),
        ("02005e100001", 1),
        ("b-7", 6),  # a system goes before a lab of that name
        ("pc02", 3),  # the other one is retired
        ("5", 5),
    ],
)
def test_a_word_means_one_system(inventory, word, number):
    assert resolve_systems(inventory, [word]) == [number]
    assert resolve_system(inventory, word) == number


def test_several_words_a_lab_and_a_department_mean_each_system_once(inventory):
    assert resolve_systems(inventory, ["pc1", "lab:a-101", "2", "pc1"]) == [4, 1, 2]
    assert resolve_systems(inventory, ["A-101"]) == [1, 2]
    assert resolve_systems(inventory, ["lab:1"]) == [1, 2]
    assert (
        resolve_systems(inventory, ["phy"])
        == resolve_systems(inventory, ["dept:Physics"])
        == [1, 2, 3, 4, 6, 10]
    )


def test_a_file_has_a_word_a_line_and_remarks(inventory, tmp_path, monkeypatch):
    file = tmp_path / "list"
    file.write_text("\ufeffpc1\r\n# all others are sold\n\n  10.0.0.3  # at the window\n")
    assert resolve_systems(inventory, [f"@{file}", "1"]) == [4, 3, 1]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"2\n1\n")))
    assert resolve_systems(inventory, ["@-"]) == [2, 1]
    with pytest.raises(UsageError, match="@/no/such: cannot be read"):
        resolve_systems(inventory, ["@/no/such"])
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text"):
        resolve_systems(inventory, [f"@{file}"])


@pytest.mark.parametrize(
    "word, text",
    [
        ("pc01", "pc01 means 2 systems: 1 \\(pc01.lab-a.uni.example\\), 2 \\(pc01.lab-b.uni.example\\)"),
        ("02:00:5e:10:00:02", "means 2 systems: 2 .*, 6 \\(b-7\\)"),
        ("7", "there is no system 7"),
        ("99999999999999999999", "there is no system 99999999999999999999\\. See"),
        ("0" * 5000 + "9", "there is no system 9\\. See"),
        ("9" * 5000, "there is no system 9{40}\\.\\.\\. See"),
        ("pc0", "no system, lab or department is called 'pc0'. Did you mean pc0"),
        ("pc01.lab-c", "Did you mean pc01.lab-"),
        ("10.0.0.99", "'10.0.0.99'"),
        ("twin", "no system, lab or department"),
        ("lab:nothing", "no system, lab or department is called 'lab:nothing'"),
        ("", "an empty word"),
        ("  ", "an empty word"),
        ("\x1b[2Jx", r"\\x1b"),
        ("' OR 1=1 --", "no system"),
    ],
)
def test_what_means_none_or_too_many_is_refused(inventory, word, text):
    with pytest.raises(UsageError, match=text):
        resolve_systems(inventory, [word])


def test_where_one_is_needed_a_lab_is_too_many(inventory):
    with pytest.raises(UsageError, match="'A-101' means 2 systems, and one is needed"):
        resolve_system(inventory, "A-101")


def test_a_department_has_a_number_a_name_and_a_code(inventory):
    assert [dept_id(inventory, word) for word in ("1", "physics", " PHY ", "Chemistry", None)] == [
        1,
        1,
        1,
        2,
        None,
    ]
    with pytest.raises(UsageError, match="no department Chemystry. Did you mean Chemistry"):
        dept_id(inventory, "Chemystry")
    with pytest.raises(UsageError, match="no department 9"):
        dept_id(inventory, "9")
