"""The help of every command: complete, in plain words, and within 80 columns."""

import re

import pytest
import typer
from typer.testing import CliRunner

from labmon.cli import app
from labmon.cli.help import columns, paragraphs
from labmon.config.reference import sample
from tests.support.words import forbidden_in

METAVARS = (
    "N ID SYSTEM OTHER DEPT TIME PATH LAB HOST HOST,... CIDR NAME TEXT RULE METRIC TARGET QUEUE "
    "STATUS CHANGE SYSTEMS HOURS ZONE SIZE COLUMN COLUMN,... WORDS COLUMN,ROW N|A..B ID|HOST DAY KIND "
    "MESSAGE FACT~TEXT"
).split()
"""What a value may be called; a choice is called by its values."""


def tree():
    def walk(command, words):
        yield words, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, [*words, name])

    return list(walk(typer.main.get_command(app), []))


TREE = tree()
every_command = pytest.mark.parametrize(
    "words, command", TREE, ids=[" ".join(words) or "labmon" for words, _ in TREE]
)


@every_command
def test_help_fits_80_columns_and_has_no_types_and_no_riddles(words, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="labmon").output
    assert shown.startswith("Usage: " + " ".join(["labmon", *words]))
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert re.findall(r"<bool>|<int range>|INTEGER RANGE|FLOAT RANGE|\[x[<>]|[│╭╰]", shown) == []
    assert forbidden_in(shown) == []


@every_command
def test_every_parameter_has_help_and_every_value_a_name_from_the_list(words, command):
    context = typer.Context(command)
    assert command.help
    for parameter in command.get_params(context):
        assert parameter.help, parameter.name
        assert parameter.help.strip()[-1] in ".:", f"{parameter.name}: {parameter.help}"
        if parameter.param_type_name == "option" and parameter.is_flag:
            assert parameter.metavar is None
            continue
        name = parameter.metavar
        assert name in METAVARS or re.fullmatch(r"[a-z0-9]+(\|[a-z0-9]+)+", name or ""), parameter.name


def test_the_same_option_has_the_same_help_everywhere():
    """One definition each; `collect --from` is about logins and `maintenance add --from` begins now."""
    for name in ("--lab", "--dept", "--system", "--format", "--quiet", "--queue-host", "--yes"):
        found = {
            (option.help, option.metavar)
            for words, command in TREE
            for option in command.params
            if name in option.opts and words != ["scan"]
        }
        assert len(found) == 1, (name, found)


def test_no_config_comment_has_a_forbidden_word():
    assert [line for line in sample().splitlines() if forbidden_in(line)] == []


def test_the_sample_has_no_forbidden_word_across_lines():
    assert forbidden_in(sample().replace("\n# ", " ")) == []


def test_a_forbidden_word_is_found_whole_and_over_a_line_break():
    assert forbidden_in("The newest so\n  many.")
    assert forbidden_in("Whoever names machines")
    assert forbidden_in("who is told")
    assert not forbidden_in("a told-you-so; lanes; whosever")


def test_a_long_option_has_its_description_below_it():
    rows = [("--severity info|warning|critical", "Only these."), ("-q", "Quiet.")]
    assert list(columns(rows, 80)) == [
        "  --severity info|warning|critical",
        " " * 32 + "Only these.",
        "  -q" + " " * 28 + "Quiet.",
    ]


def test_examples_are_indented_and_not_wrapped():
    text = "Show `it`.\n\nlabmon show one two three four five six seven eight nine\nlabmon show"
    assert paragraphs(text, 20) == [
        "",
        "Show it.",
        "",
        "  labmon show one two three four five six seven eight nine",
        "  labmon show",
    ]
