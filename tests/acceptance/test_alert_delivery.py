"""From readings in the queue to what a webhook receives, and when, on each broker: exactly these, no others.

`labmon consume` runs beside the test, and all the stories happen at the same time, on all brokers; then, on
each broker one after the other, those in which something dies.
"""

import json
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.acceptance.alert_site import BROKERS, TICK, working
from tests.support.servers import NotInstalled

FULL = """
[[rule]]
name = "full"
metric = "disk_percent"
threshold = 90
severity = "critical"
repeat = "%s"
"""

HOT = """
[[rule]]
name = "hot"
metric = "cpu_percent"
threshold = 90
clear = 80
for = "2m"
repeat = "0s"
"""

SILENT = """
[[rule]]
name = "no_data"
kind = "no_data"
threshold = 4
repeat = "0s"
[[rule]]
name = "lab_down"
kind = "lab_down"
comparison = ">="
threshold = 50
clear = 10
severity = "critical"
span = "1m"
repeat = "0s"
"""


def threshold(lab):
    began = time.monotonic()
    lab.publish((0, 0, {"disk_percent": 95.0}), (1, 0, {"disk_percent": 90.0}))
    (request,) = lab.news((0, "full", "firing"))
    assert request.at - began < 5
    assert request.headers["Labmon-Signature"].startswith("t=")
    lab.publish((0, 0, {"disk_percent": 96.0}))
    lab.silence(TICK + 1)
    lab.publish((0, 0, {"disk_percent": 90.0}))
    lab.news((0, "full", "resolved"))


def lasting(lab):
    lab.minutes(0, cpu_percent=[95, 95, 50])
    lab.minutes(1, cpu_percent=[95, 95, 95])
    lab.news((1, "hot", "firing"))
    lab.silence(2)


def hysteresis(lab):
    lab.minutes(0, ago=9, cpu_percent=[95, 95, 95])
    lab.news((0, "hot", "firing"))
    lab.minutes(0, ago=6, cpu_percent=[85, 91, 85])
    lab.minutes(0, ago=4, cpu_percent=[70, 70])
    lab.silence(TICK + 1)
    lab.minutes(0, ago=2, cpu_percent=[70, 70])
    lab.news((0, "hot", "resolved"))


def flapping(lab):
    lab.minutes(0, cpu_percent=[95, 95, 50] * 4)
    lab.minutes(1, cpu_percent=[95, 95, 95, *[70, 95] * 5])
    lab.news((1, "hot", "firing"))
    lab.silence(TICK + 1)


def no_data(lab):
    with lab.measured(1, 2, 3, 4, 5):
        with lab.measured(0):
            lab.silence(TICK + 3)
        lab.news((0, "no_data", "firing"))
        lab.silence(TICK + 1)
        with lab.measured(0):
            lab.news((0, "no_data", "resolved"))


def fan_in(lab):
    """One machine is left. They are one alert, and none each."""
    with lab.measured(0):
        with lab.measured(1, 2, 3, 4, 5):
            time.sleep(1)
        (request,) = lab.news((-1, f"lab_down:lab {lab.lab}", "firing"))
        (alert,) = request.document["alerts"]
        assert (alert["covers"], alert["about"]) == ([f"pc-{n}" for n in lab.systems[1:]], lab.name)
        lab.silence(TICK + 1)
        with lab.measured(1, 2, 3, 4, 5):
            lab.news((-1, f"lab_down:lab {lab.lab}", "resolved"))
            lab.silence(TICK + 1)


def remove_maintenance(lab):
    """That of the story; returns its number."""
    listed = json.loads(lab.run("maintenance", "list", "-f", "json").stdout)
    (number,) = [one["maintenance_id"] for one in listed if one["comment"] == lab.name]
    lab.run("maintenance", "remove", number)
    return number


def maintenance_end(lab):
    """What fired in it and still stands is told at its end."""
    lab.run("maintenance", "add", "--system", lab.systems[0], "--for", "1h", "-m", lab.name)
    lab.publish(*((place, 0, {"disk_percent": 95.0}) for place in (0, 1)))
    lab.news((1, "full", "firing"))
    lab.silence(TICK + 1)
    number = remove_maintenance(lab)
    (request,) = lab.news((0, "full", "firing"))
    assert request.document["alerts"][0]["reason"] == f"held until now: maintenance {number}"


def silenced(lab):
    """What waits by then is held until the silence ends, and told if it still stands."""
    lab.receiver.then = 503
    lab.publish(*((place, 0, {"disk_percent": 95.0}) for place in (0, 1)))
    lab.receiver.wait(1, 60)
    lab.run("alerts", "silence", "--rule", "full", "--lab", lab.name, "--for", "1h", "-m", lab.name)
    lab.all_are("held", 2)
    lab.receiver.then = 204
    lab.silence(TICK + 1)
    lab.publish((1, 0, {"disk_percent": 10.0}))
    lab.site.wait(
        lambda: lab.site.ask(
            "SELECT FROM alert_incidents WHERE state = 'resolved' AND system_id = %s", lab.systems[1]
        )
    )
    number = remove_maintenance(lab)
    (request,) = lab.news((0, "full", "firing"))
    assert request.document["alerts"][0]["reason"] == f"held until now: silence {number}"
    lab.silence(TICK + 1)


def acknowledged(lab):
    lab.publish((0, 0, {"disk_percent": 95.0}))
    (request,) = lab.news((0, "full", "firing"))
    lab.run("alerts", "ack", request.document["alerts"][0]["alert_id"], "-m", "I know")
    time.sleep(1)
    for _ in lab.heard()[1:]:  # it took so long that it had to be repeated
        lab.news((0, "full", "firing"))
    lab.silence(2 * 4 + TICK + 1)
    lab.publish((0, 0, {"disk_percent": 10.0}))
    lab.news((0, "full", "resolved"))


def repeated(lab):
    """After 3 s, then after 6, by ticks of 5."""
    lab.publish((0, 0, {"disk_percent": 95.0}))
    words = [lab.news((0, "full", "firing"))[0] for _ in range(3)]
    first, second, third = (one.at for one in words)
    assert 2.5 <= second - first < third - second
    assert [one.document["alerts"][0].get("repeat", 0) for one in words] == [0, 1, 2]


def worker_dies(lab):
    lab.publish((0, 0, {"disk_percent": 95.0}))
    lab.site.kill()
    lab.publish((1, 0, {"disk_percent": 95.0}))
    lab.site.start()
    lab.at_last((0, "full", "firing"), (1, "full", "firing"))


def broker_dies(lab):
    lab.publish((0, 0, {"disk_percent": 95.0}))
    lab.site.broker.kill()
    time.sleep(0.5)
    lab.site.broker.start()
    lab.publish((1, 0, {"disk_percent": 95.0}))
    lab.at_last((0, "full", "firing"), (1, "full", "firing"))


def database_dies(lab):
    """The queue, if it is elsewhere, takes what comes meanwhile."""
    lab.publish((0, 0, {"disk_percent": 95.0}))
    lab.site.store.kill()
    if lab.site.broker is not lab.site.store:
        lab.publish((1, 0, {"disk_percent": 95.0}))
    time.sleep(0.5)
    lab.site.store.start()
    if lab.site.broker is lab.site.store:
        lab.publish((1, 0, {"disk_percent": 95.0}))
    lab.at_last((0, "full", "firing"), (1, "full", "firing"))


def database_restarts(lab):
    """In the middle of what it does: the first word may be anywhere between the queue and the target."""
    lab.publish((0, 0, {"disk_percent": 95.0}))
    lab.site.store.restart()
    lab.publish((1, 0, {"disk_percent": 95.0}))
    lab.at_last((0, "full", "firing"), (1, "full", "firing"))


def receiver_is_away(lab):
    """Until it is back; then it is told by the same notification."""
    lab.receiver.then = 503
    lab.publish((0, 0, {"disk_percent": 95.0}))
    lab.receiver.wait(1, 60)
    lab.receiver.then = 204
    lab.at_last((0, "full", "firing"))
    assert len({one.headers["Idempotency-Key"] for one in lab.receiver.received}) == 1


AT_ONCE = {
    threshold: FULL % "0s",
    lasting: HOT,
    hysteresis: HOT,
    flapping: HOT,
    no_data: SILENT.partition('[[rule]]\nname = "lab_down"')[0],
    fan_in: SILENT,
    maintenance_end: FULL % "0s",
    silenced: FULL % "0s",
    acknowledged: FULL % "4s",
    repeated: FULL % "3s",
    receiver_is_away: FULL % "0s",
}
IN_TURN = {story: FULL % "0s" for story in (worker_dies, broker_dies, database_dies, database_restarts)}
RULES = {story.__name__: rules for story, rules in (AT_ONCE | IN_TURN).items()}


def everywhere():
    for kind in BROKERS:
        for story in [*AT_ONCE, *IN_TURN]:
            if kind == "store" and story is broker_dies:
                continue  # it is the database, which dies in a story of its own
            dies = [pytest.mark.chaos] if story in IN_TURN else []
            yield pytest.param(kind, story, id=f"{story.__name__}-{kind}", marks=dies)


def tell(kind, futures):
    """These stories on this broker; what becomes of each is its future's."""

    def one(site, story):
        try:
            futures[story].set_result(story(site.stories[story.__name__]))
        except BaseException as error:
            futures[story].set_exception(error)

    try:
        with working(kind, {story.__name__: RULES[story.__name__] for story in futures}) as site:
            at_once = [story for story in futures if story in AT_ONCE]
            with ThreadPoolExecutor(max(1, len(at_once))) as pool:
                for story in at_once:
                    pool.submit(one, site, story)
            for story in futures:
                if story in IN_TURN:
                    one(site, story)
    except BaseException as error:
        untold = [future for future in futures.values() if not future.done()]
        for future in untold:
            future.set_exception(error)
        if not untold:
            raise


@pytest.fixture(scope="module")
def outcomes(request):
    """Of each story that is asked for, on each broker."""
    asked = {}
    for item in request.session.items:
        if item.function is test_what_is_told_and_when:
            kind, story = item.callspec.params["kind"], item.callspec.params["story"]
            asked.setdefault(kind, {})[story] = Future()
    # The two on PostgreSQL in turn: the machine is busy enough with three at once.
    in_turn = [
        [kind for kind in group if kind in asked]
        for group in (["store", "postgres"], ["redis"], ["rabbitmq"])
    ]

    def tell_of(kinds):
        for kind in kinds:
            tell(kind, asked[kind])

    threads = [threading.Thread(target=tell_of, args=[kinds]) for kinds in in_turn]
    for thread in threads:
        thread.start()
    yield asked
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kind, story", list(everywhere()))
def test_what_is_told_and_when(kind, story, outcomes):
    try:
        outcomes[kind][story].result()
    except NotInstalled as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
