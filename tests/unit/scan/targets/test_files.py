"""Targets in files."""

import pytest

from labmon.errors import UsageError
from labmon.scan.targets.files import LARGEST, expand


def test_a_list_that_a_windows_editor_wrote(tmp_path):
    file = tmp_path / "labs.txt"
    file.write_bytes(b"\xef\xbb\xbf10.30.5.0/24\r\n\r\n# room\r\n10.30.6.1\r\n")
    assert expand([f"@{file}"]) == ["10.30.5.0/24", "10.30.6.1"]


def test_lines_comments_and_several_on_a_line(tmp_path):
    file = tmp_path / "labs.txt"
    file.write_text("# the labs\n10.30.5.0/24\n\n10.30.6.1-20  10.30.7.9, 10.30.8.0/25 # and these\r\n")
    assert expand(["10.1.1.1", f"@{file}", "10.1.1.2"]) == [
        *("10.1.1.1", "10.30.5.0/24", "10.30.6.1-20", "10.30.7.9", "10.30.8.0/25", "10.1.1.2")
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"10.30.5.0/24\n10.30.5.0/99\n", "line 2: '10.30.5.0/99' is no address"),
        (b"@other.txt\n", "line 1: '@other.txt' is no address"),
        (b"# nothing\n", "no addresses in it"),
        (b"\xff\xfe", "cannot be read as text"),
        (b"#" * (LARGEST + 1), "larger than 4 MiB"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, content, said):
    file = tmp_path / "labs.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError) as error:
        expand([f"@{file}"])
    assert str(file) in str(error.value) and said in str(error.value)


@pytest.mark.parametrize("name", ["@", "@/nonexistent/labs.txt", "@/", "@a\0b"])
def test_no_such_file(name):
    with pytest.raises(UsageError):
        expand([name])
