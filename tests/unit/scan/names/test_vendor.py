"""Who made a network card."""

from labmon.scan.names.vendor import PRIVATE, vendor


def test_known_made_up_and_unknown():
    assert vendor("00:1b:21:11:22:33") == "Intel"
    assert vendor("52:54:00:11:22:33") == "QEMU"
    assert vendor("02:00:00:00:00:01") == PRIVATE
    assert vendor("fc:ff:ff:ff:ff:ff") is None
