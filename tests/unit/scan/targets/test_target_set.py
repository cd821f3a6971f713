"""Addresses as an administrator types them."""

import time
from ipaddress import IPv4Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.errors import UsageError
from labmon.scan.targets import target_set
from labmon.scan.targets.target_set import Targets, by_family, parse


def read(*texts, max_hosts=65536, force=False):
    return parse(texts, max_hosts=max_hosts, force=force)


@pytest.mark.parametrize(
    ("text", "first", "last", "count"),
    [
        ("10.30.5.0/24", "10.30.5.1", "10.30.5.254", 254),
        ("10.30.5.7/24", "10.30.5.1", "10.30.5.254", 254),
        ("10.30.5.0/255.255.255.0", "10.30.5.1", "10.30.5.254", 254),
        ("127.0.0.0/28", "127.0.0.1", "127.0.0.14", 14),
        ("10.30.5.0/30", "10.30.5.1", "10.30.5.2", 2),
        ("10.30.5.0/31", "10.30.5.0", "10.30.5.1", 2),
        ("10.30.5.9/32", "10.30.5.9", "10.30.5.9", 1),
        ("10.30.5.9", "10.30.5.9", "10.30.5.9", 1),
        ("10.30.5.10-80", "10.30.5.10", "10.30.5.80", 71),
        ("10.30.5.10-10.30.6.80", "10.30.5.10", "10.30.6.80", 327),
        (" 10.30.5.10 - 10.30.5.80 ", "10.30.5.10", "10.30.5.80", 71),
        ("10.30.5.10-10", "10.30.5.10", "10.30.5.10", 1),
        ("10.30.0.0/16", "10.30.0.1", "10.30.255.254", 65534),
        ("fd00:5::7", "fd00:5::7", "fd00:5::7", 1),
        ("fd00:5::/120", "fd00:5::1", "fd00:5::ff", 255),
        ("FD00:0005:0::a0/127", "fd00:5::a0", "fd00:5::a1", 2),
        ("fd00:5::10-fd00:5::1f", "fd00:5::10", "fd00:5::1f", 16),
        ("fd00:5::10-1f", "fd00:5::10", "fd00:5::1f", 16),
        ("::1", "::1", "::1", 1),
    ],
)
def test_what_can_be_typed(text, first, last, count):
    targets = read(text)
    assert (targets[0], targets[-1], len(targets)) == (first, last, count)


def test_several_are_swept_in_order_and_once():
    targets = read("10.30.5.4-6", "10.30.5.0/29", "10.30.5.5", "10.30.4.9", "10.30.5.9")
    assert list(targets) == ["10.30.4.9", *(f"10.30.5.{n}" for n in range(1, 7)), "10.30.5.9"]
    assert str(targets) == "10.30.4.9, 10.30.5.1-10.30.5.6, 10.30.5.9"


def test_a_broadcast_address_is_swept_when_named_by_itself():
    assert "10.30.5.255" not in read("10.30.5.0/24")
    assert "10.30.5.255" in read("10.30.5.0/24", "10.30.5.255")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.30.5.0/33", "'10.30.5.0/33' is no address, network or range: write 10.30.5.0/24"),
        ("10.30.5.256", "'10.30.5.256' is no address"),
        ("10.30.5", "'10.30.5' is no address"),
        ("10.30.5.010", "is no address"),
        ("lab-pc-01", "'lab-pc-01' is no range"),
        ("pc", "'pc' is no address"),
        ("", "an empty address"),
        ("   ", "an empty address"),
        ("10.30.5.80-10", "'10.30.5.80-10' runs backwards: write 10.30.5.10-10.30.5.80"),
        ("10.30.5.10-300", "is no range"),
        ("10.30.5.10-", "is no range"),
        ("10.30.5.0/24-10.30.6.0/24", "is no range"),
        ("10.30.5.1-\u0663", "is no range"),
        ("::ffff:10.30.5.1", "is an IPv4 address in IPv6 form: write 10.30.5.1"),
        ("::ffff:10.30.5.0/120", "is an IPv4 address in IPv6 form"),
        ("fe80::1%eth0", "means nothing on another machine; write ff02::1%eth0 to see everybody"),
        ("fe80::1", "means nothing on another machine; write ff02::1%eth0"),
        ("fd00:5::1%eth0", "only link-local addresses have a link: leave %eth0 out"),
        ("fe80::1-10.30.5.1", "means nothing on another machine"),
        ("fd00:5::1-10.30.5.1", "begins in IPv6 and ends in IPv4"),
        ("fd00:5::9-fd00:5::1", "runs backwards: write fd00:5::1-fd00:5::9"),
        ("fd00:5::9-1", "runs backwards"),
        ("fd00:5::-fd00:6::", "addresses cannot be asked one by one"),
        ("fd00:5::/64", "is on no link of this machine, and cannot be swept: at a million packets a second"),
        ("fd00:5::/129", "is no address"),
        ("fd00:5::1::2", "is no address"),
        ("ff02::1", "names no link of this machine: this machine has no IPv6 address on any link"),
        ("ff02::1%", "is no address"),
        ("ff02::2", "reserved or multicast"),
        ("::", "reserved or multicast"),
        ("x" * 5000, "'xxxx"),
        ("10.30.5.1\n10.30.5.2", r"'10.30.5.1\n10.30.5.2' is no address"),
    ],
)
def test_what_cannot_be_read_is_named_on_one_line(text, says):
    with pytest.raises(UsageError) as caught:
        read(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_nothing_at_all_says_what_to_write():
    with pytest.raises(UsageError, match="no addresses to scan: write 10.30.5.0/24"):
        read()


def test_too_many_names_the_count_the_key_and_the_way_out():
    with pytest.raises(UsageError, match=r"16,777,214 .* \[scan\] max_hosts = 65,536; .* --force"):
        read("10.0.0.0/8")
    assert len(read("10.0.0.0/8", force=True)) == 16_777_214
    with pytest.raises(UsageError, match="these 2 ranges: 508 addresses"):
        read("10.30.5.0/24", "10.30.6.0/24", max_hosts=300)
    assert len(read("10.30.5.0/24", "10.30.5.0/24", max_hosts=254)) == 254


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("192.0.2.0/24", "192.0.2.1"),
        ("10.255.255.250-11.0.0.4", "11.0.0.0"),
        ("9.255.255.255-10.0.0.9", "9.255.255.255"),
        ("172.15.255.255-172.16.0.1", "172.15.255.255"),
        ("100.128.0.1", "100.128.0.1"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:db8::1-2001:db8::2", "2001:db8::1"),
    ],
)
def test_somebody_elses_network_needs_force(text, address):
    with pytest.raises(UsageError, match=f": {address} is outside the private"):
        read(text)
    assert address in read(text, force=True)


@pytest.mark.parametrize(
    "text", ["172.31.255.0/24", "192.168.1.1", "100.64.0.0/24", "169.254.7.7", "127.9.9.9"]
)
def test_private_link_local_loopback_and_carrier_grade_nat_are_fine(text):
    assert read(text)


@pytest.mark.parametrize("text", ["224.0.0.1", "255.255.255.255", "0.0.0.0", "240.0.0.0/24", "0.0.0.0/0"])
def test_what_is_nobodys_address_is_refused_even_by_force(text):
    with pytest.raises(UsageError, match="reserved or multicast"):
        read(text, force=True)


def test_a_great_range_costs_nothing_until_it_is_walked():
    targets = read("10.0.0.0/8", force=True)
    assert targets[10_000_000] == str(IPv4Address("10.0.0.1") + 10_000_000)
    assert len(targets.spans) == 1


def test_an_index_beyond_the_end_is_refused():
    targets = read("10.30.5.0/30")
    assert targets[-2:] == ["10.30.5.1", "10.30.5.2"]
    for index in (2, -3):
        with pytest.raises(IndexError):
            targets[index]


numbers = st.integers(int(IPv4Address("10.0.0.0")), int(IPv4Address("10.0.3.255")))


@given(st.lists(st.tuples(numbers, numbers).map(lambda ends: (min(ends), max(ends))), max_size=6))
def test_spans_are_the_set_of_their_addresses(spans):
    targets = Targets(spans)
    wanted = sorted({n for first, last in spans for n in range(first, last + 1)})
    assert [int(ip_address(address)) for address in targets] == wanted
    assert len(targets) == len(wanted)
    assert [targets[i] for i in range(len(targets))] == list(targets)


@given(st.text(max_size=40) | st.text("0123456789abcdf./-:% ", max_size=40))
def test_no_text_at_all_breaks_it(text):
    try:
        targets = read(text)
    except UsageError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert 0 < len(targets) <= 65536


def test_what_is_excluded_is_taken_away():
    targets = parse(
        ["10.30.5.0/24"],
        max_hosts=300,
        exclude=["10.30.5.1", "10.30.5.100-199", "10.30.5.240/28", "10.9.9.9"],
    )
    assert str(targets) == "10.30.5.2-10.30.5.99, 10.30.5.200-10.30.5.239"


def test_excluding_everything_is_an_error():
    with pytest.raises(UsageError, match="every address is excluded"):
        parse(["10.30.5.0/24"], max_hosts=300, exclude=["10.30.0.0/16"])


def test_what_cannot_be_read_in_exclude_or_allow_is_an_error():
    for key in ("exclude", "allow"):
        with pytest.raises(UsageError, match="'lab' is no address"):
            parse(["10.30.5.0/24"], max_hosts=300, **{key: ["lab"]})


def test_only_what_is_allowed_may_be_asked_with_force_too():
    allow = ["10.30.5.0/24", "10.30.6.0/24"]
    assert len(parse(["10.30.5.0-10.30.6.255"], max_hosts=600, allow=allow)) == 512
    for force in (False, True):
        with pytest.raises(UsageError, match="^10.30.7.0 may not be scanned: .* 10.30.5.0/24, 10.30.6.0/24$"):
            parse(["10.30.5.0-10.30.7.9"], max_hosts=600, allow=allow, force=force)
    assert len(parse(["10.30.5.0-10.30.7.9"], max_hosts=600, allow=allow, exclude=["10.30.7.0/24"])) == 512


def test_a_public_network_that_is_allowed_is_ones_own():
    assert len(parse(["192.0.2.0/24"], max_hosts=300, allow=["192.0.2.0/24"])) == 254


def test_a_network_of_ipv6_is_refused_with_the_reason():
    with pytest.raises(UsageError, match="584,942 years"):
        parse(["2001:db8::/64"], max_hosts=300)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=6),
)
def test_excluding_is_subtraction(wanted, unwanted):
    def texts(pairs):
        return [f"10.0.0.{first}-10.0.0.{first + length}" for first, length in pairs]

    def numbers(pairs):
        return {n for first, length in pairs for n in range(first, first + length + 1)}

    left = sorted(numbers(wanted) - numbers(unwanted))
    if left:
        assert list(parse(texts(wanted), max_hosts=300, exclude=texts(unwanted))) == [
            f"10.0.0.{n}" for n in left
        ]


LINKS = [
    ("eth0", IPv6Network("fd00:5::/64")),
    ("eth0", IPv6Network("fe80::/64")),
    ("eth1", IPv6Network("2001:db8:7::/64")),
]


def near(*texts, **options):
    return parse(texts, **{"max_hosts": 300, "links": LINKS, **options})


def test_a_network_of_a_link_is_asked_as_a_whole():
    targets = near("fd00:5::/64", "10.30.5.0/30", "fd00:5::/64", "2001:db8:7::/64")
    assert [(one.device, str(one)) for one in targets.on_link] == [
        ("eth0", "fd00:5::/64"),
        ("eth1", "2001:db8:7::/64"),
    ]
    assert list(targets) == ["10.30.5.1", "10.30.5.2"]
    assert str(targets) == "10.30.5.1-10.30.5.2, fd00:5::/64, 2001:db8:7::/64"
    assert "fd00:5::7" in targets.on_link[0]
    assert "fd00:6::7" not in targets.on_link[0]


def test_so_is_a_part_of_it_but_nothing_larger():
    (part,) = near("fd00:5::1:0:0/96").on_link
    assert (part.device, str(part)) == ("eth0", "fd00:5::1:0:0/96")
    assert len(near("fd00:5::/120")) == 255
    with pytest.raises(UsageError, match="'fd00:5::/48' is on no link of this machine"):
        near("fd00:5::/48")


def test_everybody_on_a_link_is_all_its_networks():
    targets = near("ff02::1%eth0")
    assert [str(one) for one in targets.on_link] == ["fd00:5::/64", "fe80::/64"]
    assert targets.claims == near("fd00:5::/64").claims
    with pytest.raises(UsageError, match="'ff02::1%eth7' names no link .*: write ff02::1%eth0, ff02::1%eth1"):
        near("ff02::1%eth7")


def test_on_a_link_too_what_is_excluded_is_left_out_and_what_is_not_allowed_refused():
    (one,) = near("fd00:5::/64", exclude=["fd00:5::7", "fd00:5::100/120"]).on_link
    assert "fd00:5::6" in one
    assert "fd00:5::7" not in one and "fd00:5::1ff" not in one
    assert str(one).startswith("fd00:5::-fd00:5::6, fd00:5::8-fd00:5::ff, fd00:5::200-")
    with pytest.raises(UsageError, match="every address is excluded"):
        near("fd00:5::/64", exclude=["fd00::/16"])
    with pytest.raises(UsageError, match="fd00:5:: may not be scanned"):
        near("fd00:5::/64", allow=["10.0.0.0/8"])
    assert near("fd00:5::/64", allow=["10.0.0.0/8", "fd00:5::/48"]).on_link


def test_ipv6_comes_after_ipv4_and_both_can_be_told_apart():
    targets = read("fd00:5::7", "10.30.5.4", "::1", "10.30.5.9")
    assert list(targets) == ["10.30.5.4", "10.30.5.9", "::1", "fd00:5::7"]
    assert [list(some) for some in by_family(targets)] == [["10.30.5.4", "10.30.5.9"], ["::1", "fd00:5::7"]]
    assert [list(some) for some in by_family(list(targets))] == [list(some) for some in by_family(targets)]
    assert "fd00:5:0::7" in targets and "fd00:5::8" not in targets
    assert list(targets.without(["::1", "10.30.5.9"])) == ["10.30.5.4", "fd00:5::7"]


def test_what_could_not_be_asked_was_not_asked():
    targets = near("ff02::1%eth0", "2001:db8:7::/64", "10.30.5.4")
    assert str(targets.without(["fd00:5::/64", "10.30.5.4"])) == "fe80::/64, 2001:db8:7::/64"
    left = targets.without(["fe80::9%eth0", "2001:db8:7::", "fd00:5::/64"])
    assert str(left).startswith(
        "10.30.5.4, fe80::-fe80::8, fe80::a-fe80::ffff:ffff:ffff:ffff, 2001:db8:7::1-"
    )
    assert str(near("fd00:5::/64").without(["fd00:5::/64"])) == ""


# findings B6
@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1" + " " * 100_000 + "-",
        "1" * 100_000,
        "10.0.0.0/" + "1" * 100_000,
        ":" * 100_000,
        "-" * 100_000,
    ],
)
def test_long_text_is_refused_at_once_and_shown_in_short(text):
    before = time.process_time()
    with pytest.raises(UsageError) as raised:
        parse([text], max_hosts=100)
    assert len(str(raised.value)) < 400
    assert time.process_time() - before < 1


# findings B6
def test_many_ranges_and_many_holes_cost_no_more_than_their_number():
    def seconds(count):
        texts = [f"10.{n >> 14 & 255}.{n >> 6 & 255}.{n % 64 * 4 + 1}" for n in range(count)]
        holes = [f"10.{n >> 14 & 255}.{n >> 6 & 255}.{n % 64 * 4 + 2}" for n in range(count)]
        before = time.process_time()
        targets = parse(texts, max_hosts=10**6, exclude=holes, allow=[*texts, "192.168.0.0/16"])
        assert len(targets) == count
        assert all(text in targets for text in texts[:1000])
        return time.process_time() - before

    seconds(1000)  # what is loaded by the first time
    assert seconds(16_000) < 16 * (seconds(4_000) + 0.05), "four times as many, and no more than that each"


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), max_size=20),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), max_size=20),
)
def test_what_is_left_is_what_no_hole_has(spans, holes):
    spans, holes = (target_set._merged((a, a + b) for a, b in some) for some in (spans, holes))
    left = {n for first, last in target_set._without(spans, holes) for n in range(first, last + 1)}
    taken = {n for first, last in holes for n in range(first, last + 1)}
    assert left == {n for first, last in spans for n in range(first, last + 1)} - taken
    for first, last in spans:
        outside = sorted(set(range(first, last + 1)) - taken)
        assert target_set._first_outside((first, last), holes) == (outside[0] if outside else None)
