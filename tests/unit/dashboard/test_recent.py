"""Answers to the same question at about the same time are made once."""

import gzip

import pytest

from labmon.dashboard.live import recent
from labmon.dashboard.live.recent import Recent
from labmon.dashboard.web import Problem


@pytest.fixture
def made():
    """What was made so far, and how."""
    found = []

    def make():
        found.append(1)
        return b"answer %d" % len(found)

    make.found = found
    return make


def test_it_is_made_once_for_each_question(made):
    answers = Recent(60)
    assert answers.get((1, "cpu"), made) is answers.get((1, "cpu"), made)
    assert answers.get((2, "cpu"), made).body == b"answer 2"
    assert gzip.decompress(answers.get((2, "cpu"), made).body_gzip) == b"answer 2"
    assert len(made.found) == 2


def test_it_is_made_again_when_it_is_old(made):
    answers = Recent(0)
    assert [answers.get(1, made).body for _ in range(2)] == [b"answer 1", b"answer 2"]


def test_no_more_are_kept_than_a_few(made, monkeypatch):
    monkeypatch.setattr(recent, "MOST", 3)
    answers = Recent(60)
    for number in range(10):
        answers.get(number, made)
    assert len(answers._answers) == 3
    answers.get(9, made)
    assert len(made.found) == 10


def test_a_problem_is_everybodys(made):
    def fail():
        raise Problem(404, "there is no system 7")

    answers = Recent(60)
    for _ in range(2):
        with pytest.raises(Problem, match="no system"):
            answers.get(7, fail)
