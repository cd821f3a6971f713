"""A machine under load, measured by the probe and by psutil over the same seconds."""

import json
import sys
from pathlib import Path

import pytest

from tests.support import netns

SCRIPT = Path(__file__).with_name("run_accuracy.py")
POINTS = {"cpu_percent": 2, "ram_percent": 2}
PARTS = {
    "network_recv_mbps": 0.05,
    "network_sent_mbps": 0.05,
    "disk_read_mbps": 0.05,
    "disk_write_mbps": 0.05,
}


def off(ours, theirs):
    """The readings that are further from psutil's than they may be."""
    return {
        name: (ours[name], theirs[name])
        for name in (*POINTS, *PARTS)
        if ours[name] != pytest.approx(theirs[name], abs=POINTS.get(name), rel=PARTS.get(name))
    }


@pytest.mark.slow
def test_the_probe_and_psutil_agree_on_a_machine_under_load(tmp_path):
    """The stream runs over a cable between namespaces: loopback is no network card, and is not counted.

    The two cannot look at the very same moment, and on a crowded machine the moments may lie apart, so that
    some of the tries may miss. Each try has to show the load.
    """
    netns.require()
    with netns.pair() as (near, far):
        server = far.start(sys.executable, str(SCRIPT), "serve")
        assert server.stdout.readline() == "ready\n"
        done = near.python(SCRIPT, netns.FAR, "cable", str(tmp_path))
    tries = [json.loads(line) for line in done.stdout.splitlines()]
    for number, one in enumerate(tries, 1):
        for name in one["psutil"]:
            print(
                f"try {number}  {name:18} probe {one['probe'][name]:9.3f}  psutil {one['psutil'][name]:9.3f}"
            )
        assert one["psutil"]["cpu_percent"] > 30
        assert one["psutil"]["network_sent_mbps"] > 20
        assert one["psutil"]["network_recv_mbps"] > 5
        assert one["psutil"]["disk_write_mbps"] > 2
    misses = [off(one["probe"], one["psutil"]) for one in tries]
    assert {} in misses, misses
