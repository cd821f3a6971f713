"""What nmap says, and what pretends to be nmap."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.scan.methods.nmap_xml import NmapXml, NotNmap

AT = datetime(2025, 11, 25, 10, 30, tzinfo=UTC)

OUTPUT = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nmaprun>
<?xml-stylesheet href="file:///usr/bin/../share/nmap/nmap.xsl" type="text/xsl"?>
<!-- Nmap 7.93 scan initiated as: nmap -sn -oX - 10.77.0.0/24 -->
<nmaprun scanner="nmap" version="7.93" xmloutputversion="1.05">
<taskprogress task="ARP Ping Scan" time="1" percent="42.50" remaining="1" etc="2"/>
<host><status state="up" reason="arp-response" reason_ttl="0"/>
<address addr="10.77.0.2" addrtype="ipv4"/>
<address addr="F0:DE:F1:00:00:01" addrtype="mac" vendor="Wistron"/>
<hostnames><hostname name="lab-pc-01.example.edu" type="PTR"/></hostnames>
<times srtt="86" rttvar="5000" to="100000"/>
</host>
<host><status state="up" reason="echo-reply" reason_ttl="127"/>
<address addr="10.99.0.5" addrtype="ipv4"/>
<hostnames>
</hostnames>
</host>
<host><status state="down" reason="no-response"/><address addr="10.99.0.6" addrtype="ipv4"/></host>
<runstats><finished time="1"/><hosts up="2" down="1" total="3"/></runstats>
</nmaprun>
"""


def test_hosts_with_what_nmap_knows_of_them():
    xml = NmapXml(AT)
    first, second = xml.feed(OUTPUT)
    assert (first.address, first.mac, first.hostname, first.seen, first.scan_type) == (
        *("10.77.0.2", "f0:de:f1:00:00:01", "lab-pc-01.example.edu"),
        *("nmap/arp-response", "nmap"),
    )
    assert (first.rtt, first.ttl, first.seen_at) == (0.000086, None, AT)
    assert (second.address, second.mac, second.hostname, second.rtt) == ("10.99.0.5", None, None, None)
    assert second.system == "Windows"
    assert xml.percent == 42.5


def test_whom_nmap_has_no_way_to():
    xml = NmapXml(AT)
    xml.feed(b'<nmaprun><target specification="10.99.0.1" status="skipped" reason="invalid"/>')
    assert xml.skipped == {"10.99.0.1"}


@given(st.integers(0, len(OUTPUT)))
def test_in_whatever_pieces_it_comes(at):
    xml = NmapXml(AT)
    assert len(xml.feed(OUTPUT[:at]) + xml.feed(OUTPUT[at:])) == 2


@pytest.mark.parametrize(
    "declared",
    ['<!ENTITY a "aaaa">', '<!ENTITY x SYSTEM "file:///etc/passwd">', '<!ENTITY % p SYSTEM "http://x/">'],
)
def test_entities_are_refused(declared):
    with pytest.raises(NotNmap):
        NmapXml(AT).feed(f"<!DOCTYPE nmaprun [{declared}]><nmaprun/>".encode())


@given(st.binary(max_size=200))
def test_rubbish_is_refused_or_says_nothing(data):
    try:
        assert NmapXml(AT).feed(data) == []
    except NotNmap:
        pass


def test_odd_numbers_and_names_are_left_out():
    text = OUTPUT.replace(b'srtt="86"', b'srtt="soon"').replace(b"lab-pc-01.example.edu", b"a b")
    host = NmapXml(AT).feed(text)[0]
    assert (host.rtt, host.hostname) == (None, None)


def host_xml(address="10.77.0.9", more="", reason="echo-reply", kind="ipv4"):
    return (
        f'<host><status state="up" reason="{reason}" reason_ttl="64"/>'
        f'<address addr="{address}" addrtype="{kind}"/>{more}</host>'
    )


def read(*parts, targets=None):
    xml = NmapXml(AT, targets)
    return xml, xml.feed("".join(["<nmaprun>", *parts]).encode())


# findings E5
@pytest.mark.parametrize(
    "address", ["10.77.0.999", "router", "", "10.77.0.0/24", "fe80::1%eth0\N{ESCAPE}", "::g"]
)
def test_an_address_that_is_none_is_no_host(address):
    text = address.replace("\N{ESCAPE}", "&#x85;")
    assert read(host_xml(text))[1] == []


# findings E5
@pytest.mark.parametrize(
    "mac",
    ["zz:de:f1:00:00:01", "f0:de:f1", "", "01:00:5e:00:00:01", "00:00:00:00:00:00", "f0:de:f1:00:00:01:02"],
)
def test_a_mac_that_is_no_cards_is_left_out(mac):
    (host,) = read(host_xml(more=f'<address addr="{mac}" addrtype="mac"/>'))[1]
    assert (host.address, host.mac) == ("10.77.0.9", None)


# findings E5
@pytest.mark.parametrize(
    ("percent", "shown"), [("nan", 0.0), ("inf", 0.0), ("-5", 0.0), ("1e9", 100.0), ("x", 0.0)]
)
def test_a_percentage_is_one(percent, shown):
    assert read(f'<taskprogress percent="{percent}"/>')[0].percent == shown


# findings E5
@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e308", "-1", "x"])
def test_times_and_ttls_that_cannot_be_are_left_out(number):
    text = host_xml(more=f'<times srtt="{number}"/>').replace('reason_ttl="64"', f'reason_ttl="{number}"')
    (host,) = read(text)[1]
    assert (host.rtt, host.ttl) == (None, None)


# findings E5
def test_a_host_comes_once_and_only_if_it_was_asked():
    asked = {"10.77.0.9", "fd00:5::9"}
    _, hosts = read(
        *(host_xml(), host_xml(), host_xml("10.77.0.10"), host_xml("fd00:5:0::9", kind="ipv6")), targets=asked
    )
    assert [host.address for host in hosts] == ["10.77.0.9", "fd00:5::9"]


# findings E5
@pytest.mark.parametrize(
    ("end", "finished"),
    [
        ("", False),
        ('<runstats><finished exit="error" errormsg="out of memory"/></runstats>', False),
        ('<runstats><finished time="1"/></runstats>', False),
        ('<runstats><finished exit="success"/></runstats>', True),
    ],
)
def test_a_scan_is_whole_when_nmap_says_so(end, finished):
    assert read(host_xml(), end)[0].finished is finished


# findings B5
@pytest.mark.parametrize("text", ["a&#x85;b", "a&#x2028;b", "a&#x202e;b", "=cmd()", "a b", "&#9;x"])
def test_text_that_a_terminal_or_a_table_would_obey_is_left_out(text):
    (host,) = read(host_xml(more=f'<hostname name="{text}"/>', reason=text))[1]
    assert (host.hostname, host.seen) == (None, "nmap/unknown")
    xml, _ = read(f'<target specification="{text}" status="skipped"/>')
    assert xml.skipped == set()
