"""The bounds of the dependencies are those that were tested."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]
DOCUMENT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = DOCUMENT["optional-dependencies"]
NEEDED = [Requirement(text) for text in DOCUMENT["dependencies"] + EXTRAS["dashboard"] + EXTRAS["embedded"]]
TESTED = dict(
    line.split("==") for line in (PROJECT / "tests" / "constraints.txt").read_text().split() if "==" in line
)


def same(name):
    return re.sub("[-_.]+", "-", name).lower()


# findings B10
@pytest.mark.parametrize("needed", NEEDED, ids=lambda one: one.name)
def test_each_dependency_has_a_lower_bound_that_the_tested_version_keeps(needed):
    assert any(one.operator == ">=" for one in needed.specifier)
    tested = {same(name): text for name, text in TESTED.items()}
    assert tested[same(needed.name)] in needed.specifier
    assert version(needed.name) in needed.specifier


# findings B10
@pytest.mark.parametrize("name", ["paramiko", "pika"])
def test_a_dependency_whose_private_parts_are_used_has_an_upper_bound(name):
    (needed,) = (one for one in NEEDED if one.name == name)
    assert any(one.operator == "<" for one in needed.specifier)
