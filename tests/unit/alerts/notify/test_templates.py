"""Templates: what they know, what is wrong with one, and what one cannot do."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from labmon.alerts.notify.facts import Style
from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.templates import process
from labmon.alerts.notify.templates.parts import TemplateFault
from labmon.alerts.notify.templates.process import read, render_apart
from labmon.app.alerts.templates import examples
from tests.support.clock import clock
from tests.unit.alerts.deliveries import NOON, delivery

EXAMPLES = examples()
VALUES = Notification.of("admins", EXAMPLES).values()


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


PLAIN = Style()


def notification(style=PLAIN, **columns):
    one = delivery(1)
    given = {"alert_id": 17, "kind": "threshold", "metric": "disk_percent", "since": NOON} | columns
    alert = msgspec.structs.replace(one.alert, **given)
    return Notification.of("admins", [dataclasses.replace(one, alert=alert)], style)


def test_a_mail_says_number_unit_mount_local_time_what_to_type_and_where_to_look():
    made = notification(
        Style("Europe/Berlin", "https://labs.example.edu"), mount="/home", note="Delete."
    ).rendered
    assert made.title == "warning: cpu_high on pc-42 /home, 95.5 %"
    assert made.text.splitlines() == [
        "warning 17: cpu_high on pc-42 /home, A-101: 95.5 % (limit 90 %), since 2026-03-02 13:00 CET",
        "  Delete.",
        "",
        "labmon alerts ack 17",
        "https://labs.example.edu/alerts?alert=17",
    ]
    for text in ("labmon alerts ack 17", "95.5 %", "limit 90 %", "/home", "13:00 CET", "alerts?alert=17"):
        assert text in made.html


@pytest.mark.parametrize(
    "kind, metric, value, text",
    [
        ("threshold", "ram_total_bytes", 3.0 * 2**30, "3.0 GiB (limit 84.3 GiB)"),
        ("no_data", None, 1200.0, "20 min (limit 1 min)"),
        ("rate", "disk_percent", 5.0, "5 h (limit 90 h)"),
        ("threshold", "cpu_temperature_celsius", 95.5, "95.5 °C (limit 90 °C)"),
        ("changed", "ram_total_bytes", 2.0**30, "1.0 GiB (was 84.3 GiB)"),
    ],
)
def test_values_and_limits_have_peoples_units(kind, metric, value, text):
    limit = 90.5e9 if metric == "ram_total_bytes" else 90.0
    text = text.replace("(limit 1 min)", "(limit 90 s)")
    assert text in notification(kind=kind, metric=metric, value=value, threshold=limit).rendered.text


def test_what_is_over_says_from_when_to_when_and_needs_no_acknowledgement():
    made = notification(state="resolved", at=NOON.replace(hour=14)).rendered
    assert "2026-03-02 12:00 UTC to 2026-03-02 14:00 UTC" in made.text
    assert "labmon alerts ack" not in made.text + made.html


def test_a_group_has_a_table_and_one_line_that_acknowledges_all_that_fire():
    made = Notification.of("admins", EXAMPLES).rendered
    assert made.html.count("<tr") == 1 + len(EXAMPLES)
    assert "labmon alerts ack 17 18 19\n" in made.text + "\n"


def test_a_template_replaces_single_blocks_of_the_built_in_one():
    made = render_apart(VALUES, '{% extends "built-in" %}{% block title %}{{ severity }}!{% endblock %}')
    assert made.title == "critical!"
    assert made.text == Notification.of("admins", EXAMPLES).rendered.text
    assert made.html.count("<tr") == 5


def test_the_example_in_another_language_renders():
    example = Path(__file__).parents[4] / "examples" / "alerts" / "mail.j2"
    made = render_apart(VALUES, example.read_text(encoding="utf-8"))
    assert "Alarm 17: disk_full auf a101-pc01 (10.30.5.1) /home, 98.2 % (Grenze 97 %), seit " in made.text
    assert made.text.endswith("Quittieren: labmon alerts ack 17 18 19")


def test_a_template_without_blocks_is_the_text_alone():
    made = render_apart(VALUES, "{% for one in alerts %}{{ one.rule }} {% endfor %}")
    assert made.text.split() == ["disk_full", "ram_changed", "lab_down", "cpu_high"]
    assert (made.title, made.html) == (VALUES["title"], None)


def test_names_are_escaped_in_html_and_as_they_are_in_text():
    values = VALUES | {"title": "<b>x & y"}
    block = "{%% block %s %%}{{ title }}{%% endblock %%}"
    own = '{% extends "built-in" %}' + block % "html" + block % "text"
    made = render_apart(values, own)
    assert (made.text, made.html) == ("<b>x & y", "&lt;b&gt;x &amp; y")


# What does not render is named by its line; what would take the machine with it ends.
@pytest.mark.parametrize(
    "source, said",
    [
        ("a\nb\n{{ alerts[0].typo }}", r"line 3: there is no 'typo'"),
        ("a\n{% for x in %}", "line 2: "),
        ("{{ nothing }}", "line 1: 'nothing' is undefined"),
        ("\n{{ 1 / 0 }}", "line 2: ZeroDivisionError"),
        ("{% for i in range(10**9) %}x{% endfor %}", "line 1: OverflowError: Range too big"),
        ("{{ 'a' * 10**10 }}", "MiB of memory"),
        ("{% for i in range(99999) %}xxxxxxxxxx{% endfor %}", "longer than 200000 characters"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ alerts.append(1) }}", "unsafe"),
        ('{% include "/etc/passwd" %}', "there is no template"),
        ('{% extends "built-on" %}', "there is no template"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    ],
)
def test_what_is_wrong_with_a_template_is_said_with_its_line(source, said):
    with pytest.raises(TemplateFault, match=said):
        render_apart(VALUES, source)


def test_a_loop_that_is_too_long_is_ended(monkeypatch):
    began = clock()
    many = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
    with pytest.raises(TemplateFault, match="a loop that is too long"):
        render_apart(VALUES, many)
    assert clock() - began < process.TIME + 3


@pytest.mark.parametrize(
    "prepare, said",
    [
        (lambda file: None, "No such file"),
        (lambda file: file.write_bytes(b"\xff\xfe"), "not text|UTF-8|byte"),
        (lambda file: file.write_text("x" * 100_001), "longer than"),
        (lambda file: file.mkdir(), "directory"),
    ],
)
def test_a_file_that_is_no_template_says_so(folder, prepare, said):
    prepare(folder / "mail.j2")
    with pytest.raises(TemplateFault, match=said):
        read(str(folder / "mail.j2"))


def test_a_file_that_others_may_write_is_refused(folder):
    file = folder / "mail.j2"
    file.write_text("x")
    file.chmod(0o666)
    with pytest.raises(TemplateFault, match="may be written"):
        read(str(file))


def test_a_template_that_does_not_render_costs_no_notification(folder, caplog):
    file = folder / "mail.j2"
    file.write_text("{{ alerts[0].typo }}")
    one = notification(Style(template=str(file)))
    assert one.rendered.text == notification().rendered.text
    assert one.rendered.html
    assert one.problem == f"sent with the built-in text: template {file}: line 1: there is no 'typo'"
    assert one.problem in caplog.text
    file.write_text("mended")
    assert notification(Style(template=str(file))).rendered.text == "mended"
