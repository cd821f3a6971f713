"""Which routers are waited for."""

from labmon.scan import gateways


def test_a_router_is_waited_for_by_targets_behind_it_and_not_by_loopback(tmp_path, monkeypatch):
    (tmp_path / "route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n"
    )
    device = tmp_path / "eth0"
    device.mkdir()
    (device / "type").write_text("1\n")
    (device / "flags").write_text("0x1003\n")
    monkeypatch.setattr(gateways, "ROUTES", tmp_path / "route")
    monkeypatch.setattr(gateways, "DEVICES", tmp_path)
    monkeypatch.setattr(gateways.links6, "routes", lambda: [])
    assert gateways.routers(["10.0.0.1"]) == [gateways.Router("192.0.2.1", "eth0", "10.0.0.1")]
    assert gateways.routers(["127.0.1.1"]) == []
