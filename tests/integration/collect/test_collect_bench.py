"""The bench in short: it runs, everybody is measured, and the order of the figures is right."""

import pytest

from tests.bench import collect
from tests.support import netns
from tests.support.sshd import can_make_accounts


@pytest.fixture(autouse=True)
def namespaces():
    netns.require()
    if not can_make_accounts():
        pytest.skip("accounts for a private sshd need root and mount namespaces")


@pytest.mark.slow
def test_a_run_costs_less_than_its_peer_and_a_round_less_than_a_run(capsys):
    cpu, to_peer, seconds, *_ = collect.main(["--only", "once", "--hosts", "40"])
    assert "CPU per host" in cpu.what and cpu.unit == "ms"
    assert to_peer.figure < 0.5
    assert seconds.holds
    each, end = collect.main(["--only", "every", "--hosts", "40"])
    assert each.figure < cpu.figure / 2
    assert end.holds
    assert "xargs -P 20 ssh" in capsys.readouterr().out


@pytest.mark.slow
def test_black_holes_cost_one_deadline(monkeypatch):
    monkeypatch.setattr(collect, "DEADLINE", 6.0)
    first, again = collect.main(["--only", "holes", "--hosts", "60"])
    assert first.figure < first.limit + 1.0
    assert again.holds
