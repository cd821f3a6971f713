"""Receivers that answer a byte at a time hold nothing up: no run of cron, no service that is to end."""

import signal
import time

import pytest

from labmon.app.open import open_store
from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.errors import Exit
from labmon.messages import Alert, encode, utcnow
from tests.support.receiver import Receiver


@pytest.fixture(params=["webhook", "chat"])
def dripping(lab, request):
    """A lab whose only target never finishes its answer, and an alert for it in the queue."""
    with Receiver(drip=True) as receiver:
        url = receiver.url
        if request.param == "chat":
            url = url.split("/hook")[0].replace("http://", "mmost://") + "/abcdefghijklmnop?rto=60"
        (lab.folder / "config.toml").write_text(
            f'[notify]\ntimeout = "2s"\n[[notify.targets]]\nname = "slow"\nurl = "{url}"\n'
        )
        lab.run("setup-queues")
        config = load(lab.folder / "config.toml", environ=lab.env).config
        alert = Alert(
            system_id=0, alert_type="cpu_high", severity="critical", value=95, threshold=90, at=utcnow()
        )
        with open_store(config) as store, open_broker(config.queue, store_url=store.url) as broker:
            broker.publish(config.queue.alert_queue, [Message("a-1", encode(alert), "alerts.critical")])
        yield receiver


# findings A13, D3
def test_a_run_of_cron_ends_and_says_who_was_not_notified(lab, dripping):
    said = lab.run("consume", "--until-empty", timeout=60, code=Exit.SOME_FAILED).stderr
    assert "slow could not be notified: no answer within 2 s" in said
    assert "done in part: 1 alert not notified. See: labmon alerts deliveries" in said
    said = lab.run("consume", "--until-empty", "--quiet", timeout=60, code=Exit.SOME_FAILED).stderr
    assert "done in part: 1 alert not notified" in said  # which waits for its next attempt


# findings A13
def test_sigterm_ends_a_service_that_waits_for_an_answer(lab, dripping):
    (lab.folder / "config.toml").write_text(
        (lab.folder / "config.toml").read_text().replace('"2s"', '"60s"').replace("rto=60", "rto=120")
    )
    process = lab.start("consume")
    try:
        dripping.wait(1, seconds=60)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.communicate(timeout=30)
        assert time.monotonic() - began < 20  # it waits 2 s for what is being sent
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
