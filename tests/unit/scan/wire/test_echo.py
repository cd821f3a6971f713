"""Our own echo packets, told from everybody else's."""

from hypothesis import given
from hypothesis import strategies as st

from labmon.scan.wire.echo import ODD_OPTION, Echo, Reply, checksum, strip_ip

TOKEN = b"8 random"
ECHO = Echo(0xBEEF, TOKEN)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)


def reply_to(question: bytes) -> bytes:
    return b"\x00" + question[1:]


def test_an_answer_tells_the_target_and_the_time():
    assert ECHO.read(reply_to(ECHO.question(1, 7, 123))) == Reply(number=7, sent=123)


@given(st.integers(0, 10), u32, u64, st.binary(min_size=8, max_size=8), st.integers(0, 65535))
def test_every_question_has_a_right_checksum(round_, number, sent, token, identifier):
    question = Echo(identifier, token).question(round_, number, sent)
    assert len(question) == 40
    assert checksum(question) == 0


def test_our_own_question_heard_on_loopback_is_no_answer():
    assert ECHO.read(ECHO.question(0, 7, 123)) is None


@given(st.integers(4, 39), st.integers(1, 255))
def test_a_damaged_answer_is_ignored(place, flip):
    answer = bytearray(reply_to(ECHO.question(0, 7, 123)))
    answer[place] ^= flip
    if place in (6, 7):  # the round is only there to tell two packets apart
        assert ECHO.read(bytes(answer)) == Reply(7, 123)
    else:
        assert ECHO.read(bytes(answer)) is None


@given(st.integers(0, 39))
def test_a_truncated_answer_is_ignored(length):
    assert ECHO.read(reply_to(ECHO.question(0, 7, 123))[:length]) is None


def test_an_answer_to_another_sweep_is_ignored():
    answer = reply_to(ECHO.question(0, 7, 123))
    assert Echo(0xBEEF, b"another.").read(answer) is None
    assert Echo(0xBEE0, TOKEN).read(answer) is None


@given(st.binary(max_size=80))
def test_no_bytes_at_all_break_the_reader(data):
    assert ECHO.read(data) is None
    assert ECHO.read(strip_ip(data)) is None


def test_the_message_follows_an_ip_header_of_any_length():
    for words in (5, 6, 15):
        header = bytes([0x40 + words]) + bytes(8) + b"\x01" + bytes(words * 4 - 10)
        assert strip_ip(header + b"message") == b"message"


def test_what_is_no_icmp_in_ipv4_has_no_message():
    good = b"\x45" + bytes(8) + b"\x01" + bytes(10)
    assert strip_ip(good[:19]) == b""
    assert strip_ip(b"\x65" + good[1:] + b"message") == b""  # version 6
    assert strip_ip(b"\x44" + good[1:] + b"message") == b""  # a header of 16 bytes
    assert strip_ip(good[:9] + b"\x06" + good[10:] + b"message") == b""  # TCP


def test_checksum_of_the_example_in_rfc_1071():
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2 ^ 0xFFFF


@given(st.binary(max_size=80))
def test_ipv6_has_types_of_its_own_and_no_bytes_break_it(message):
    ours = Echo(1, b"8 random", ipv6=True)
    question = ours.question(3, 4, 5)
    assert question[:2] == b"\x80\x00"
    assert ours.read(b"\x81" + question[1:]).number == 4
    for wrong in (question, b"\x00" + question[1:], (b"\x81" + question[1:])[:-1], message):
        assert ours.read(wrong) is None
    assert Echo(1, b"8 random").read(b"\x81" + question[1:]) is None


@given(st.binary(max_size=120), st.integers(0, 200))
def test_a_complaint_quotes_our_question(message, length):
    ours = Echo(1, b"8 random", ipv6=True)
    question = ours.question(3, 4, 5)
    complaint = b"\x04\x02" + bytes(6) + bytes(40) + ODD_OPTION + question
    assert ours.read_error(complaint) == Reply(4, 5)
    assert ours.read(complaint) is None
    for wrong in (
        b"\x04\x01" + complaint[2:],
        complaint[:-1],
        complaint[1:],
        message,
        complaint[:length][:-1],
    ):
        assert ours.read_error(wrong) is None
    assert Echo(1, b"another!", ipv6=True).read_error(complaint) is None
