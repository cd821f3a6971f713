"""What the network says of a machine, in a namespace that has one neighbour and no other way out."""

import json
import os
import sys

import pytest

from tests.support import netns

MEASURE = """
import json, sys
from pathlib import Path
from labmon.collect.once import Target, collect
from labmon.config.tables import CollectConfig
from labmon.config.units import Seconds

state, addresses = Path(sys.argv[1]), sys.argv[2:]
settings = CollectConfig(password_file=str(state / "password"), user="nobody", deadline=Seconds(10))
targets = [Target(address, 1, number) for number, address in enumerate(addresses, 1)]
for result in collect(targets, settings, state_dir=state):
    print(json.dumps([result.target.address, result.failure.status, result.failure.detail]))
"""


@pytest.fixture
def near():
    netns.require()
    with netns.pair() as (near, _):
        yield near


def test_silence_refusal_and_no_way_are_three_things(near, tmp_path):
    (tmp_path / "password").write_text("x\n")
    environ = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
    addresses = (netns.FAR, "10.77.0.99", "10.78.0.1")
    done = near.run(
        sys.executable, "-c", MEASURE, str(tmp_path), *addresses, env=environ | {"HOME": str(tmp_path)}
    )
    found = {
        address: (status, detail) for address, status, detail in map(json.loads, done.stdout.splitlines())
    }
    assert found == {
        netns.FAR: ("refused", "nothing listens on that port"),
        "10.77.0.99": ("offline", "No route to host"),  # nobody has that address
        "10.78.0.1": ("unreachable", "Network is unreachable"),
    }
