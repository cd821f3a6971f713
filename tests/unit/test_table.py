from dataclasses import dataclass

import pytest

from labmon.table import Cells, Column, _width, facts, table
from labmon.text import foreign as printable


@dataclass
class Row:
    address: str
    rate: float | None
    failure: str | None


COLUMNS = [
    Column("address", "Address"),
    Column("rate", "Rate", "{:.1f}".format, right=True, extra=True),
    Column("failure", "Failure", absent="", gives=True),
]
ROWS = [Row("127.0.0.1", 1.5, None), Row("127.0.0.13", None, "refused: " + "nothing listens there " * 3)]


def test_a_table_is_as_wide_as_it_needs_to_be():
    lines = table(COLUMNS, ROWS, None)
    assert lines[:2] == ["Address     Rate  Failure", "127.0.0.1    1.5"]
    assert lines[2].startswith("127.0.0.13     -  refused: nothing listens there nothing")


@pytest.mark.parametrize("width", [120, 80, 60, 40, 32])
def test_a_table_fits_its_terminal_and_keeps_addresses_whole(width):
    lines = table(COLUMNS, ROWS, width)
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if line[0] != " "] == ["Address", "127.0.0.1", "127.0.0.13"]
    assert " ".join(" ".join(lines).split()).count("nothing") == 3


def test_an_extra_column_goes_before_a_text_is_broken_to_bits():
    assert "Rate" in table(COLUMNS, ROWS, 60)[0]
    assert "Rate" not in table(COLUMNS, ROWS, 40)[0]


def test_a_column_that_says_nothing_is_left_out():
    assert table(COLUMNS, [Row("127.0.0.1", 1.0, None)], None)[0] == "Address    Rate"
    assert table(COLUMNS, [], None) == ["Address  Rate  Failure"]


def test_wide_characters_count_as_wide():
    lines = table(COLUMNS, [Row("計算機", 1.0, "x"), Row("pc", 1.0, "x")], None)
    assert lines[1:] == ["計算機    1.0  x", "pc        1.0  x"]


def test_what_acts_on_a_terminal_is_made_visible():
    assert printable("a\x1b[31mb\x07") == "a\\x1b[31mb\\x07"


def test_a_table_of_a_whole_network_is_quick():
    import time

    rows = [Row(f"10.0.{n // 250}.{n % 250}", 1.0, None) for n in range(65_536)]
    started = time.process_time()
    assert len(table(COLUMNS, rows, 100)) == 65_537
    assert time.process_time() - started < 5


@pytest.mark.parametrize("width", [60, 40, 30])
def test_where_nothing_gives_the_widest_columns_are_wrapped(width):
    rows = [Row("lab-" * 12, 1.5, None), Row("計算機" * 9, None, None)]
    columns = [
        Column("address", "Address"),
        Column("rate", "Rate", "{:.1f}".format),
        Column("address", "Again"),
    ]
    lines = table(columns, rows, width)
    assert max(map(_width, lines)) <= width
    assert "".join("".join(lines).split()).count("計") == 18


def test_facts_are_wrapped_beside_their_names():
    lines = list(facts([("name", "one two three four"), ("short", "x")], 8, 18))
    assert lines == ["name    one two", "        three four", "short   x"]
    assert list(facts([("name", "one two three four")], 8, None)) == ["name    one two three four"]


@dataclass
class Advised:
    name: str
    do: str
    more: str = "x" * 20


ADVISED = [
    Column("name", "Name", gives=True, name=True),
    Column("more", "More", extra=True),
    Column("do", "Do", gives=True),
]


@pytest.mark.parametrize(
    "command", ["labmon dead-letters list", "labmon systems trust 2", "labmon setup-queues"]
)
@pytest.mark.parametrize("width", [28, 40, 60])
def test_a_command_is_never_broken_inside_a_word(command, width):
    lines = table(ADVISED, [Advised("pc", f"{command} discovery_queue")], width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert [word for word in (*command.split(), "discovery_queue") if word not in words] == []


@pytest.mark.parametrize("name", ["pc-" * 80 + "17.example.edu", "a" * 253, "\u6f22" * 60])
def test_a_very_long_name_is_shortened_in_the_middle_on_a_terminal_only(name):
    rows = [Advised(name, "-")]
    lines = table(ADVISED, rows, 100)
    assert len(lines) == 2
    begin, _, end = lines[1].split()[0].partition("...")
    assert name.startswith(begin) and name.endswith(end) and len(begin) > 5 and len(end) > 5
    assert name in table(ADVISED, rows, None)[1]


def test_hidden_columns_are_counted():
    rows = [Advised("pc", "x" * 60)]
    for width, hidden in ((200, 0), (40, 1), (None, 0)):
        cells = Cells(ADVISED, rows)
        list(cells.lines(width))
        assert cells.hidden == hidden


@dataclass
class Fares:
    name: str | None
    status: str
    reason: str | None = None


FARES = [
    Column("name", "Name", host=True),
    Column("status", "Status", colour=True),
    Column("reason", "Reason", absent="", gives=True),
]


def test_the_domain_that_all_names_have_is_left_out_when_asked():
    rows = [
        Fares("pc-1.a.example.edu", "active"),
        Fares("pc-2.b.example.edu (+3)", "failed"),
        Fares("x", "ok"),
    ]
    cells = Cells(FARES, rows)
    lines = list(cells.lines(None, drop_domain=True))
    assert [line.split()[0] for line in lines] == ["Name", "pc-1.a", "pc-2.b", "x"]
    assert lines[2].startswith("pc-2.b (+3)  failed")
    assert cells.domain == ".example.edu"
    assert "pc-1.a.example.edu" in table(FARES, rows, None)[1]


@pytest.mark.parametrize(
    "names",
    [
        ["pc-1.a.example.edu"],  # may be the name of the only one
        ["pc-1.example.edu", "pc-1.example.edu"],
        ["pc-1.example.edu", "pc-2.example.com"],
        ["10.30.5.1", "10.31.5.1"],
        ["pc-1", "pc-2", None],
    ],
)
def test_no_domain_is_left_out_where_there_is_none_in_common(names):
    cells = Cells(FARES, [Fares(name, "active") for name in names])
    assert list(cells.lines(None, drop_domain=True)) == table(
        FARES, [Fares(n, "active") for n in names], None
    )
    assert cells.domain == ""


def test_the_first_label_of_a_name_always_stays():
    names = ["example.edu", "pc.example.edu"]
    lines = list(Cells(FARES, [Fares(name, "active") for name in names]).lines(None, drop_domain=True))
    assert [line.split()[0] for line in lines[1:]] == ["example", "pc.example"]


def test_a_coloured_cell_takes_no_more_room_than_a_plain_one():
    rows = [Fares("pc-1", "auth failed", "Permission denied " * 4), Fares("pc-2", "active")]
    cells = Cells(FARES, rows)
    plain, coloured = list(cells.lines(50)), list(cells.lines(50, colour=True))
    assert "\x1b[31mauth failed\x1b[0m  Permission" in coloured[1]
    assert "\x1b[32mactive\x1b[0m" in coloured[-1]
    bare = [line.replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[0m", "") for line in coloured]
    assert [line.rstrip() for line in bare] == plain
