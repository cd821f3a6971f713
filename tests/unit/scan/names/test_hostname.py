"""Names that may be shown, and those in /etc/hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.messages import Discovery, decode, encode, utcnow
from labmon.scan.names.hostname import clean, parse_hosts


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("lab-pc-01.example.edu.", "lab-pc-01.example.edu"),
        ("lab_pc", "lab_pc"),
        ("büro-7", "büro-7"),
        ("a" * 253, "a" * 253),
        ("a" * 253 + ".", "a" * 253),
        ("a" * 254, None),
        ("", None),
        (".", None),
        ("pc\x1b[31m", None),
        ("pc\n", None),
        ("pc\x00", None),
        ("pc 1", None),
        ("pc\u202e", None),  # turns the rest of a terminal's line around
        ("pc\udc80", None),  # a byte that was no UTF-8
    ],
)
def test_names(name, cleaned):
    assert clean(name) == cleaned


@given(st.text(max_size=300))
def test_a_clean_name_fits_the_message(name):
    cleaned = clean(name)
    if cleaned is None:
        return
    found = Discovery(
        scan_id=1,
        dept_id=1,
        ip_address="10.0.0.1",
        hostname=cleaned,
        discovered_at=utcnow(),
        scan_type="ping",
    )
    assert decode(Discovery, encode(found)).hostname == cleaned


HOSTS = """
127.0.0.1   localhost   # and a comment
10.30.5.10\tlab-pc-01.example.edu lab-pc-01
10.30.5.10  later
# 10.30.5.11 commented
10.30.5.12
nonsense    name
10.30.5.13  bad\x1bname
::1         ip6-localhost
"""


def test_etc_hosts():
    assert parse_hosts(HOSTS) == {
        "127.0.0.1": "localhost",
        "10.30.5.10": "lab-pc-01.example.edu",
        "::1": "ip6-localhost",
    }


@given(st.text())
def test_no_hosts_file_breaks_it(text):
    parse_hosts(text)
