"""The reader of OpenSSH's files, beside ssh-keygen, which says what is right."""

import base64
import hashlib
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labmon.collect.known_hosts import KnownHosts, host_name

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
    assert known.vouches(["10.0.0.1"], (KIND, blob(1)))
    assert known.vouches(["no-name", "pc1"], (KIND, blob(1)))
    assert not known.vouches(["pc1"], (KIND, blob(3)))
    assert not known.vouches(["10.0.0.2"], (KIND, blob(2)))
    assert known.vouches([host_name("10.0.0.2", 2222)], (KIND, blob(2)))
    assert known.keys(["10.0.0.1"]) == [(KIND, blob(1)), (KIND, blob(3))]
    assert known.keys(["10.0.0.3"]) == []
    assert known.plainly(["pc1"]) == ([] if hide else [(KIND, blob(1))])


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
            assert known.vouches([f"10.0.{n >> 8}.{n & 255}", f"pc{n}"], (KIND, blob(n)))
        assert time.process_time() - started < 1.0
