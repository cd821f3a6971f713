"""Fixtures of the scan tests: a pair of namespaces, and sweeps run in the near one."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import netns

RUN_SWEEP = Path(__file__).with_name("run_sweep.py")


@dataclass
class Outcome:
    """What a sweep in a namespace printed."""

    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0  #: that it took, without those that it waited for a processor
    elapsed: float = 0.0  #: seconds on the clock on the wall
    cpu: float = 0.0  #: seconds of a processor
    files: int = 0  #: open at most, with watch_files=True
    stopping: float = 0.0  #: `seconds` from the stop, with stop_at={...}, to the end
    progress: dict[str, Any] = field(default_factory=dict)

    def seen(self) -> dict[str, str]:
        return {address: host["seen"] for address, host in self.hosts.items()}


@pytest.fixture
def machines() -> Iterator[tuple[netns.Namespace, netns.Namespace]]:
    netns.require()
    with netns.pair() as both:
        yield both


@pytest.fixture
def near(machines: tuple[netns.Namespace, netns.Namespace]) -> netns.Namespace:
    return machines[0]


@pytest.fixture
def far(machines: tuple[netns.Namespace, netns.Namespace]) -> netns.Namespace:
    return machines[1]


@pytest.fixture
def sweep(near: netns.Namespace) -> Callable[..., Outcome]:
    """sweep("10.77.0.0/28", method="tcp", rate=0, ...) inside the near namespace."""

    def run(*targets: str, uid: int | None = None, **options: Any) -> Outcome:
        done = near.python(RUN_SWEEP, json.dumps({"targets": targets, **options}), uid=uid)
        first, *rest = map(json.loads, done.stdout.splitlines())
        assert first["netns"] == near.inode, "it did not run in the namespace"
        assert done.stderr == ""
        hosts = [line["host"] for line in rest[:-1]]
        addresses = [host["address"] for host in hosts]
        assert len(set(addresses)) == len(addresses), "a host came twice"
        return Outcome({host["address"]: host for host in hosts}, **rest[-1])

    return run
