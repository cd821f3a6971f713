"""What README.md and its companions say is there: commands, options, files, keys, at most 250 lines."""

import re
import shlex
import tomllib
from pathlib import Path

import msgspec
import pytest
import typer

from labmon.cli import app
from labmon.config.keys import KEYS, SEED_NAMES
from labmon.config.load import NOT_KEYS
from labmon.config.tables.notify import NotifyTarget

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / ".github").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
OTHERS = sorted(
    path for path in (ROOT / "examples").rglob("*") if path.suffix in (".cron", ".sh", ".service")
)
LONGEST = 250

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def commands(text):
    """Every `labmon ...` in a code span or a line of code, as lists of words."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    fenced = "\n".join(lines for language, lines in fences if language in ("sh", "text", ""))
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    for line in fenced.replace("\\\n", " ").splitlines() + spans:
        for part in re.split(r'[|;&>]+(?=(?:[^"]*"[^"]*")*[^"]*$)', line.split("#")[0]):  # not in "a>b"
            found = re.search(r"(?:^|\s|/bin/)(?<!-[a-z] )labmon (?!-- )([a-z-].*)$", part.strip())
            if found:
                yield shlex.split(found[1].replace("...", ""))


def fault(words):
    """What is wrong with a command line of labmon, by its command tree. None: nothing."""
    command, path = typer.main.get_command(app), "labmon"
    words = list(words)
    while words and getattr(command, "commands", None):
        word = words[0]
        if word.startswith("-"):
            options = {name for parameter in command.params for name in parameter.opts}
            if word not in options | {"--help"}:
                return f"{path} has no option {word}"
            words = words[2:] if word == "--config" else words[1:]
            continue
        word = word.split("|")[0]
        if word not in command.commands:
            return f"{path} has no command {word}"
        command, path, words = command.commands[word], f"{path} {word}", words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        name = word.split("=")[0]
        if re.match(r"--?[a-zA-Z]", name) and name not in known | {"--help"}:
            return f"{path} has no option {name}"
    return None


def test_the_readme_has_at_most_250_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST


@every_page
def test_every_command_and_option_exists(page):
    assert [wrong for words in commands(page.read_text()) if (wrong := fault(words))] == []


@pytest.mark.parametrize("page", OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_an_example_runs_exists(page):
    found = re.findall(r"/labmon (.+?)(?: 2>&1\)?)?$", page.read_text(), re.M)
    assert [wrong for line in found if (wrong := fault(shlex.split(line)))] == []


def test_commands_are_found_and_judged():
    fence = "```sh\nrunuser -u labmon -- labmon db migrat\nlabmon queue-depth --wach | cat\n"
    fence += 'labmon systems facts --where "cpu_cores>8" --wher x >file\n```\n'
    text = "`labmon scan --dept 1`\n" + fence
    assert [fault(words) for words in commands(text)] == [
        "labmon db has no command migrat",
        "labmon queue-depth has no option --wach",
        "labmon systems facts has no option --wher",
        None,
    ]
    assert len([words for page in PAGES for words in commands(page.read_text())]) > 100


@every_page
def test_every_file_that_is_named_exists(page):
    text = page.read_text()
    links = {
        target.split("#")[0]
        for target in re.findall(r"\]\(([^)]+)\)", text)
        if not re.match(r"https?:|#", target)
    }
    missing = {link for link in links if not (page.parent / link).exists()}
    top = "|".join(re.escape(path.name) for path in ROOT.iterdir() if path.is_dir() and path.name != ".venv")
    named = set(re.findall(rf"(?<![\w/.])((?:{top})/[\w./@-]*\w)", text))
    missing |= {name for name in named if not (ROOT / name).exists()}
    assert missing == set()


@every_page
def test_every_anchor_that_is_linked_exists(page):
    for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text()):
        headings = re.findall(r"^#+ (.+)$", (page.parent / target if target else page).read_text(), re.M)
        assert anchor in {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}


@every_page
def test_every_key_of_the_configuration_exists(page):
    text = page.read_text()
    for block in re.findall(r"^```toml\n(.*?)^```$", text, re.M | re.S):
        assert unknown_keys(tomllib.loads(block)) == set()
    written = {f"{table}.{key}" for table, key in re.findall(r"`\[(\w+)\] (\w+)", text)}
    assert written - set(KEYS) == set()
    tables = set(re.findall(r"`\[(\w+)\]", text))
    assert tables - {key.table for key in KEYS.values()} == set()


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("*.toml")), ids=lambda path: path.name)
def test_every_key_of_an_example_file_exists(file):
    assert unknown_keys(tomllib.loads(file.read_text())) == set()


def unknown_keys(document):
    unknown = {f"{table}.{key}" for table, entries in document.items() for key in entries} - set(KEYS)
    target = {info.name for info in msgspec.structs.fields(NotifyTarget)}
    for one in document.get("notify", {}).get("targets", []):
        unknown |= {f"notify.targets.{key}" for key in one} - {f"notify.targets.{key}" for key in target}
    return unknown


@every_page
def test_every_variable_is_one_that_labmon_reads(page):
    names = set(re.findall(r"\bLABMON_[A-Z_]*[A-Z]\b", page.read_text()))
    assert names - {key.variable for key in KEYS.values()} - NOT_KEYS == set()
    old = set(re.findall(r"\b(?:QUEUE_[A-Z]+|[A-Z]+_QUEUE)\b", page.read_text()))
    assert old - set(SEED_NAMES) == set()
