from labmon.app.collect.setup import CollectSetup
from labmon.config.load import load
from labmon.messages import Metrics, Readings, utcnow


def test_a_setup_opens_nothing_before_it_is_used(tmp_path):
    folder = tmp_path / "state"
    environ = {
        "LABMON_STATE_DIR": str(folder),
        "LABMON_QUEUE_ENABLED": "true",
        "QUEUE_TYPE": "redis",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": "1",
    }
    config = load(environ=environ).config
    setup = CollectSetup.of(config)
    assert (setup.settings, setup.state_dir, folder.exists()) == (config.collect, folder, False)
    assert setup.fleet.place == f"the embedded database in {folder}"
    with setup.open_sink(None, notice=lambda _: None, away=True, database="here") as sink:
        sink.send(Metrics(system_id=1, collected_at=utcnow(), metrics=Readings(load1=1.0)))
    assert sink.spooled == 1  # the sink of this configuration: its broker is away
