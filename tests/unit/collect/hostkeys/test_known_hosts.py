"""The reader of OpenSSH's files, beside ssh-keygen, which says what is right."""

import base64
import hashlib
import os
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labmon.collect.hostkeys.known_hosts import KnownHosts, host_name

KIND = "ssh-ed25519"


def blob(text="a"):
    """The public key of a type OpenSSH knows, so that its own tools accept the file."""
    name = KIND.encode()
    raw = hashlib.sha256(str(text).encode()).digest()
    return len(name).to_bytes(4, "big") + name + len(raw).to_bytes(4, "big") + raw


def line(names, key="a", marker=""):
    return f"{marker} {names} {KIND} {base64.b64encode(blob(key)).decode()} a comment\n".lstrip()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "known_hosts"


def hashed(file):
    subprocess.run(["ssh-keygen", "-H", "-f", file], capture_output=True, check=True)
    return file


def test_names_are_as_openssh_writes_them():
    assert host_name("10.0.0.1") == "10.0.0.1"
    assert host_name("10.0.0.1", 2222) == "[10.0.0.1]:2222"
    assert host_name("2001:0DB8:0::1") == "2001:db8::1"
    assert host_name("Lab-PC-1") == "lab-pc-1"


@pytest.mark.parametrize("hide", [False, True])
def test_a_key_is_found_by_any_name_of_its_machine(file, hide):
    file.write_text(line("pc1,10.0.0.1", 1) + line("[10.0.0.2]:2222", 2) + line("10.0.0.1", 3))
    if hide:
        hashed(file)
        assert "10.0.0" not in file.read_text()
    known = KnownHosts([file])
    assert known.has_key(["10.0.0.1"], (KIND, blob(1)))
    assert known.has_key(["no-name", "pc1"], (KIND, blob(1)))
    assert not known.has_key(["pc1"], (KIND, blob(3)))
    assert not known.has_key(["10.0.0.2"], (KIND, blob(2)))
    assert known.has_key([host_name("10.0.0.2", 2222)], (KIND, blob(2)))
    assert known.keys(["10.0.0.1"]) == [(KIND, blob(1)), (KIND, blob(3))]
    assert known.keys(["10.0.0.3"]) == []
    assert known.lookup_plain(["pc1"]) == ([] if hide else [(KIND, blob(1))])


def field(data):
    return len(data).to_bytes(4, "big") + data


def rsa(exponent, modulus):
    return base64.b64encode(field(b"ssh-rsa") + field(exponent) + field(modulus)).decode()


def b64(data):
    return base64.b64encode(data).decode()


SK = "sk-ssh-ed25519@openssh.com"
E, NUMBER = b"\1\0\1", b"\0" + b"\xff" * 128
MINE = b64(blob())
CURVE = {
    "nistp256": b"\4"
    + bytes.fromhex(
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
}  # the base point (FIPS 186-4, D.1.2.3)


def ecdsa(point, name="nistp256", kind=None):
    return b64(field((kind or f"ecdsa-sha2-{name}").encode()) + field(name.encode()) + field(point))


LINES = [
    f"h {KIND} {MINE}",
    f"h {KIND} {MINE} a comment",
    f"  h \t {KIND}   {MINE}",
    f"h\t{KIND}\t{MINE}\tcomment",
    f"h {KIND} {MINE}\r",
    f"H* {KIND} {MINE}",
    f"h, {KIND} {MINE}",
    f"!h,h {KIND} {MINE}",
    f"#h {KIND} {MINE}",
    f"@unknown h {KIND} {MINE}",
    f"h\v{KIND} {MINE}",
    f"h\xa0{KIND} {MINE}",
    f"h {KIND} {MINE[:20]} {MINE[20:]}",
    f"h {KIND} {MINE}#comment",
    f"h {KIND}",
    "h",
    f"h ED25519 {MINE}",
    f"h ssh-rsa {MINE}",
    f"h ssh-foo {b64(field(b'ssh-foo') + field(b'x'))}",
    f"h {KIND} {b64(blob()[:-3])}",
    f"h {KIND} {b64(blob() + b'abc')}",
    f"h {KIND} {b64(blob()[:-32])}",
    f"h {KIND} {MINE[:-1]}",
    f"h {KIND} {MINE[:10]}*{MINE[10:]}",
    f"h {KIND} AAAA",
    f"h ssh-rsa {rsa(E, NUMBER)}",
    f"h rsa-sha2-256 {rsa(E, NUMBER)}",
    f"h ssh-rsa {rsa(E, b'')}",
    f"h ssh-rsa {rsa(E, NUMBER[:65])}",
    f"h ssh-rsa {rsa(E, b'%c' % 0x7F + NUMBER[2:])}",
    f"h ssh-rsa {rsa(E, NUMBER[1:])}",
    f"h ssh-rsa {rsa(E, b'%c' % 1 + NUMBER[1:] * 17)}",
    f"h ssh-rsa {rsa(b'', NUMBER)}",
    f"h ssh-rsa {b64(field(b'ssh-rsa') + field(E) + NUMBER)}",
    f"h ecdsa-sha2-nistp256 {ecdsa(CURVE['nistp256'])}",
    f"h ecdsa-sha2-nistp384 {ecdsa(CURVE['nistp256'])}",
    f"h ecdsa-sha2-nistp256 {ecdsa(CURVE['nistp256'][:-1] + b'x')}",
    f"h ecdsa-sha2-nistp256 {ecdsa(CURVE['nistp256'][:33])}",
    f"h ecdsa-sha2-nistp256 {ecdsa(bytes([3]) + CURVE['nistp256'][1:33])}",
    f"h ecdsa-sha2-nistp256 {ecdsa(b'')}",
    "h 1024 35 123456789",
]


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("text", LINES)
def test_a_line_counts_where_it_does_for_ssh_keygen(file, text, hide):  # findings E2
    file.write_bytes(text.encode("latin-1") + b"\n")
    if hide:
        subprocess.run(["ssh-keygen", "-H", "-f", file], capture_output=True)
    found = subprocess.run(["ssh-keygen", "-lF", "h", "-f", file], capture_output=True, text=True)
    theirs = [one for one in found.stdout.splitlines() if not one.startswith("#")]
    assert len(KnownHosts([file]).keys(["h"])) == len(theirs)


@pytest.mark.parametrize(
    "kind, text",
    [
        ("ssh-dss", b64(b"".join(map(field, (b"ssh-dss", NUMBER, b"\0" + b"\xff" * 20, b"\1", b"\1"))))),
        (
            "sk-ssh-ed25519@openssh.com",
            b64(field(b"sk-ssh-ed25519@openssh.com") + field(blob()[-32:]) + field(b"ssh:")),
        ),
        ("ssh-ed25519-cert-v01@openssh.com", MINE),
    ],
)
def test_a_type_that_no_machine_can_be_asked_for_says_nothing(file, kind, text):  # findings E2
    file.write_text(f"h {kind} {text}\n")
    assert KnownHosts([file]).keys(["h"]) == []


def test_half_a_key_beside_a_whole_one_hides_nothing(file):  # findings E2
    file.write_text(f"h {KIND} {MINE[:30]}\nh {KIND} {MINE}\n@revoked * {KIND} {MINE[:30]}\n")
    known = KnownHosts([file])
    assert known.keys(["h"]) == [(KIND, blob())]


@pytest.mark.parametrize("long", ["x," * 40_000, "*a" * 40_000, "h " * 40_000])
def test_a_line_has_a_bounded_length(file, long):  # findings B6
    file.write_text(f"{long} {KIND} {MINE}\nh {KIND} {MINE}\n")
    began = time.process_time()
    assert KnownHosts([file]).keys(["h", "a" * 250]) == [(KIND, blob())]
    assert time.process_time() - began < 1.0


def test_many_patterns_in_a_line_cost_no_more_than_its_length(file):  # findings B6
    def cost(patterns):
        file.write_text(f"{'*a' * patterns}b {KIND} {MINE}\n")
        began = time.process_time()
        assert KnownHosts([file]).keys(["a" * 250]) == []
        return time.process_time() - began

    short, long = (min(cost(patterns) for _ in range(3)) for patterns in (5_000, 30_000))
    assert long < 2 * 6 * short


def test_a_pipe_is_not_waited_for(file):
    os.mkfifo(file)
    assert KnownHosts([file]).keys(["h"]) == []


def test_patterns_exclude_and_include(file):
    file.write_text(line("*.lab,!bad.lab,10.0.?.*", 1))
    known = KnownHosts([file])
    assert known.keys(["a.lab"]) == known.keys(["10.0.3.200"]) == [(KIND, blob(1))]
    assert known.keys(["bad.lab"]) == known.keys(["10.0.30.1"]) == []


def test_revoked_keys_are_known_and_authorities_are_passed_over(file):
    file.write_text(line("10.0.0.1", 1, "@revoked") + line("*", 2, "@cert-authority") + line("10.0.0.1", 3))
    known = KnownHosts([file])
    assert known.revoked(blob(1)) and not known.revoked(blob(2))
    assert known.keys(["10.0.0.1"]) == [(KIND, blob(3))]


def test_several_files_count_and_one_that_is_not_there_is_empty(file, tmp_path):
    file.write_text(line("10.0.0.1", 1))
    (tmp_path / "second").write_text(line("10.0.0.1", 2))
    known = KnownHosts([file, tmp_path / "none", tmp_path / "second"])
    assert len(known.keys(["10.0.0.1"])) == 2


def test_a_file_that_changes_is_read_again(file):
    known = KnownHosts([file])
    assert known.keys(["10.0.0.1"]) == []
    file.write_text(line("10.0.0.1", 1))
    assert known.keys(["10.0.0.1"]) == [(KIND, blob(1))]
    file.write_text(line("10.0.0.1", 1, "@revoked"))
    assert known.revoked(blob(1)) and known.keys(["10.0.0.1"]) == []


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.binary(max_size=300) | st.text(alphabet="|1=@# \n\t*?![],:aA", max_size=200).map(str.encode))
def test_no_file_at_all_makes_it_fail_or_hides_a_good_line(tmp_path, text):
    file = tmp_path / "known_hosts"
    file.write_bytes(text + b"\n" + line("10.0.0.1", "mine").encode())
    known = KnownHosts([file])
    assert (KIND, blob("mine")) in known.keys(["10.0.0.1"])
    assert not known.revoked(blob("mine"))


names = st.from_regex(r"\A[a-z0-9]([a-z0-9.*?-]{0,6}[a-z0-9*])?\Z")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=st.lists(st.lists(names.flatmap(lambda n: st.sampled_from([n, "!" + n])), min_size=1, max_size=3)),
    asked=st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,6}[a-z0-9])?\Z"),
)
def test_what_is_found_is_what_ssh_keygen_finds(tmp_path, lines, asked):
    file = tmp_path / "known_hosts"
    file.write_text("".join(line(",".join(names), number) for number, names in enumerate(lines)))
    found = subprocess.run(["ssh-keygen", "-F", asked, "-f", file], capture_output=True, text=True)
    theirs = {entry.split()[2] for entry in found.stdout.splitlines() if not entry.startswith("#")}
    ours = {base64.b64encode(key).decode() for _, key in KnownHosts([file]).keys([asked])}
    assert ours == theirs


def test_fifty_thousand_lines_for_a_thousand_machines_take_a_moment(file):
    """Hashed, and each machine in them: the costly question is asked about no machine."""
    file.write_text("".join(line(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", n) for n in range(50_000)))
    for known in (KnownHosts([file]), KnownHosts([hashed(file)])):
        started = time.process_time()
        for n in range(1000):
            assert known.has_key([f"10.0.{n >> 8}.{n & 255}", f"pc{n}"], (KIND, blob(n)))
        assert time.process_time() - started < 1.0
