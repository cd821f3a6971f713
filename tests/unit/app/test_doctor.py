from labmon.app.doctor import NOTE, OK, PROBLEM, examine
from labmon.config.load import load
from labmon.errors import Exit


def test_an_error_in_a_check_is_a_finding_and_ends_only_that_check(tmp_path):
    environ = {
        "LABMON_STATE_DIR": str(tmp_path / "state"),
        "LABMON_DATABASE_URL": "postgresql://127.0.0.1:1/labmon?connect_timeout=1",
        "QUEUE_TYPE": "redis",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": "1",
        "LABMON_COLLECT_PASSWORD": "x",
    }
    found = {one.check: one for one in examine(load(environ=environ).config)}
    assert (found["state"].state, found["spool"].state) == (OK, OK)
    assert (found["database"].state, found["database"].exit_code) == (PROBLEM, Exit.STORE)
    assert (found["queue"].state, found["queue"].exit_code) == (PROBLEM, Exit.BROKER)
    assert found["notify"].state == NOTE
    assert "workers" not in found  # there is no database to ask
    assert "password" in found["collect"].said
    assert not (tmp_path / "state").exists()  # nothing is changed


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    config = load(environ={"LABMON_STATE_DIR": str(tmp_path / "file" / "state")}).config
    found = {one.check: one for one in examine(config)}
    assert found["spool"].state == PROBLEM
    assert "cannot be" in found["spool"].said or "Not a directory" in found["spool"].said
