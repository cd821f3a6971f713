"""Mails to act upon, templates, escalation, Alertmanager and the heartbeat, by the installed command."""

import json

import psycopg
import pytest

from labmon.demo.sshd import DemoServer
from tests.support.absent import absent
from tests.support.alertmanager import Alertmanager
from tests.support.mailbox import Mailbox
from tests.support.receiver import Receiver
from tests.support.servers import NotInstalled, free_port


@pytest.fixture(autouse=True)
def warm(lab, warm_labmon):
    lab.warm = warm_labmon


@pytest.fixture
def site(lab, store_url):
    """Two machines, and a rule that any machine breaks."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with DemoServer(["127.0.0.1", "127.0.0.2"], key_file=lab.folder / "key") as server:
        lab.environ |= {
            "LABMON_COLLECT_PORT": str(server.port),
            "LABMON_COLLECT_KEY_FILES": str(lab.folder / "key"),
        }
        lab.run("scan", "127.0.0.1-2", "--dept", "1", "--quiet")
        lab.run("departments", "set", 1, "--name", "Physics")
        lab.run(
            *("alerts", "rules", "add", "used", "--metric", "ram_percent", "--above", "0.01"),
            *("--severity", "critical", "--note", "Buy memory."),
        )
        yield lab


def configure(lab, *targets, more=""):
    tables = "".join(f"[[notify.targets]]\n{target}\n" for target in targets)
    (lab.folder / "config.toml").write_text(f"{more}\n{tables}")


def notify(lab, code=0):
    """What cron does every minute."""
    return lab.run("consume", "--until-empty", code=code)


def listed(lab):
    return json.loads(lab.run("alerts", "list", "-f", "json").stdout)


def test_a_mail_says_what_to_do_and_what_it_says_works(site):
    lab = site
    with Mailbox() as mailbox:
        url = '[dashboard]\nurl = "https://labs.example.edu/labmon"'
        configure(lab, f'name = "admins"\nurl = "{mailbox.url}"\ntimezone = "Asia/Kolkata"', more=url)
        lab.run("collect", "--system", 1)
        notify(lab)
        (mail,) = mailbox.mails
        (alert,) = listed(lab)
        number = alert["alert_id"]
        assert mail["Subject"].startswith("[labmon] critical: used on ")
        assert mail["Subject"].endswith(" %")
        plain = mail.get_body(("plain",)).get_content()
        assert f"critical {number}: used on " in plain
        assert "127.0.0.1" in plain and "Physics: " in plain
        assert "% (limit 0.01 %), since " in plain and " IST" in plain
        assert "  Buy memory." in plain
        html = mail.get_body(("html",)).get_content()
        for text in (f"labmon alerts ack {number}", f"https://labs.example.edu/labmon/alerts?alert={number}"):
            assert text in plain and text in html

        command = next(line for line in plain.splitlines() if line.startswith("labmon "))
        assert "acknowledged" in lab.run(*command.split()[1:]).stderr
        assert listed(lab)[0]["state"] == "acknowledged"
        assert "acknowledged by" in lab.run("alerts", "list").stdout
        assert "acknowledged by" in lab.run("alerts", "show", number).stdout
        lab.run("alerts", "unack", number)
        assert listed(lab)[0]["state"] == "firing"

        lab.run("collect", "--system", 2)
        notify(lab)
        assert len(mailbox.mails) == 2
        lab.run("alerts", "rules", "set", "used", "--above", "99.9")
        lab.run("collect", "--all")
        notify(lab)
        over = mailbox.mails[-1]
        assert over["Subject"] == "[labmon] 2 resolved in Physics"
        assert "labmon alerts ack" not in over.get_body(("plain",)).get_content()


def test_the_state_says_that_an_alert_is_silenced_or_muted(site):
    site.run("collect", "--system", 1)
    site.run("alerts", "silence", "--rule", "used", "--for", "1h")
    assert [one["state"] for one in listed(site)] == ["silenced"]
    assert "silenced until " in site.run("alerts", "list").stdout
    site.run("maintenance", "remove", 1, "--yes")
    assert [one["state"] for one in listed(site)] == ["firing"]
    site.run("maintenance", "add", "--system", 1, "--for", "1h")
    assert [(one["state"], one["muted"]) for one in listed(site)] == [("muted", "maintenance 2")]
    assert "muted: maintenance 2" in site.run("alerts", "list").stdout


def test_a_template_of_ones_own_and_what_becomes_of_one_that_does_not_render(site):
    lab = site
    file = lab.folder / "mail.j2"
    built_in = lab.run("alerts", "template", "show").stdout
    assert "{% block html %}" in built_in
    file.write_text('{% extends "built-in" %}\n{% block title %}LAB {{ title }}{% endblock %}\n')
    with Mailbox() as mailbox:
        configure(lab, f'name = "admins"\nurl = "{mailbox.url}"\ntemplate = "{file}"')
        lab.run("config", "check")
        shown = lab.run("alerts", "template", "check", file)
        assert "Subject: [labmon] LAB 3 critical" in shown.stdout
        assert lab.run("alerts", "template", "show", "admins").stdout == file.read_text()
        lab.run("collect", "--system", 1)
        notify(lab)
        assert mailbox.mails[0]["Subject"].startswith("[labmon] LAB critical: used on ")
        assert "with the last alert:" in lab.run("alerts", "template", "check", file).stderr

        file.write_text("{% for one in alerts %}\n{{ one.rule }}\n{{ one.typo }}\n{% endfor %}\n")
        refused = lab.run("alerts", "template", "check", file, code=2)
        assert f"{file}: line 3: there is no 'typo'" in refused.stderr
        assert "line 3" in lab.run("config", "check", code=2).stderr
        lab.run("collect", "--system", 2)
        said = notify(lab).stderr
        assert f"admins: sent with the built-in text: template {file}: line 3" in said
        assert mailbox.mails[1]["Subject"].startswith("[labmon] critical: used on ")
        (sent,) = json.loads(lab.run("alerts", "deliveries", "-f", "json", "-n", 1).stdout)
        assert sent["state"] == "sent" and "line 3" in sent["error"]

        file.write_text("{% for i in range(10**9) %}x{% endfor %}")
        assert "Range too big" in lab.run("alerts", "template", "check", file, code=2).stderr


def test_who_is_to_hear_of_what_nobody_acknowledged_hears_of_nothing_else(site):
    lab = site
    with Receiver() as admins, Receiver() as head:
        configure(
            lab,
            f'name = "admins"\nurl = "{admins.url}"',
            f'name = "head"\nurl = "{head.url}"\nafter = "30m"',
        )
        assert "within 30m" in lab.run("alerts", "test", "used", "--system", 1).stdout
        lab.run("collect", "--all")
        notify(lab)
        first, second = (one["alert_id"] for one in admins.received[0].document["alerts"])
        assert head.received == []
        lab.run("alerts", "ack", first)
        with psycopg.connect(lab.environ["LABMON_DATABASE_URL"]) as connection:
            connection.execute("UPDATE deliveries SET escalate_at = now() WHERE escalate_at IS NOT NULL")
        notify(lab)
        (request,) = head.received
        (alert,) = request.document["alerts"]
        assert alert["alert_id"] == second
        assert alert["reason"] == "nobody has acknowledged it"
        assert (alert["unit"], alert["ack_command"]) == ("%", f"labmon alerts ack {second}")
        assert alert["limit_text"] == "0.01 %" and "mount" not in alert and "url" not in alert


def test_an_alertmanager_that_is_away_loses_nothing(site, tmp_path):
    lab = site
    with Receiver(then=200) as hook:
        try:
            manager = Alertmanager(tmp_path, hook.url)
        except NotInstalled as error:
            absent(error)
        configure(lab, f'name = "am"\nurl = "{manager.url}"')
        lab.run("config", "check")
        lab.run("collect", "--system", 1)
        said = notify(lab, code=6).stderr
        assert "am could not be notified: no connection: Connection refused; retry in" in said
        assert "1 alert not notified. See: labmon alerts deliveries" in said
        with manager:
            lab.run("alerts", "deliveries", "--retry")
            with psycopg.connect(lab.environ["LABMON_DATABASE_URL"]) as connection:
                connection.execute("UPDATE notified SET not_before = NULL")
            notify(lab)
            hook.wait(1)
            lab.run("alerts", "rules", "set", "used", "--above", "99.9")
            lab.run("collect", "--all")
            notify(lab)
            hook.wait(2)
        assert [one.document["status"] for one in hook.received] == ["firing", "resolved"]


def test_the_heartbeat_says_that_labmon_works_and_its_silence_that_it_does_not(site):
    lab = site
    with Receiver(then=200) as watcher:
        configure(lab, more=f'[heartbeat]\nurl = "{watcher.url}/{{command}}"')
        shown = lab.run("config", "show").stdout
        assert "token-abc" not in shown
        lab.run("collect", "--all")
        assert [one.path for one in watcher.received] == ["/hook/token-abc/collect"]
        notify(lab)
        assert [one.path for one in watcher.received][1:] == ["/hook/token-abc/consume"]
        # The results wait in the spool: the queue is away.
        lab.run(
            *("collect", "--all", "--queue-enabled"),
            code=None,
            QUEUE_TYPE="redis",
            QUEUE_HOST="127.0.0.1",
            QUEUE_PORT=str(free_port()),
        )
        assert len(watcher.received) == 2
    done = lab.run("collect", "--all", "--queue-enabled")
    assert "[heartbeat] url: no connection: Connection refused" in done.stderr


def test_the_services_send_it_round_by_round(site):
    lab = site
    with Receiver(then=200) as watcher:
        configure(lab, more=f'[heartbeat]\nurl = "{watcher.url}/{{command}}"')
        with (
            lab.start("collect", "--all", "--every", "5s", "--quiet") as collect,
            lab.start("consume", "--quiet") as consume,
        ):
            for count in range(3, 100):
                requests = [one.path.rpartition("/")[2] for one in watcher.wait(count, 60)]
                if requests.count("collect") >= 2 and requests.count("consume") == 1:
                    break
            for process in (collect, consume):
                process.terminate()
                assert "Traceback" not in process.communicate(timeout=60)[1]
                assert process.returncode == 0
