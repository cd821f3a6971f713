import json
import stat


def test_init_writes_a_private_file_once(lab):
    file = lab.folder / "new" / "config.toml"
    lab.run("config", "init", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lab.run("--config", file, "config", "check")
    file.write_text("[scan]\nrate = 7\n")
    assert "--force" in lab.run("config", "init", file, code=2).stderr
    assert file.read_text() == "[scan]\nrate = 7\n"
    lab.run("config", "init", file, "--force")
    assert "[collect]" in file.read_text()


def test_show_says_where_each_value_is_from_and_hides_secrets(lab):
    (lab.folder / "config.toml").write_text("[queue]\npassword = 'hunter2'\n[scan]\nrate = 7\n")
    done = lab.run("config", "show", "--format", "json", LABMON_SCAN_RETRIES="3")
    assert "hunter2" not in done.stdout + done.stderr
    rows = {row["key"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}
    assert rows["scan.rate"] == ("7", str(lab.folder / "config.toml"))
    assert rows["scan.retries"] == ("3", "LABMON_SCAN_RETRIES")
    assert rows["queue.password"][0] == '"***"'
    assert rows["collect.port"] == ("22", "default")


def test_check_names_file_table_key_and_the_nearest_name(lab):
    file = lab.folder / "config.toml"
    file.write_text("[collect]\ndedline = '5s'\n")
    said = lab.run("config", "check", code=2).stderr
    assert said == f"labmon: {file}: [collect] has no key dedline. Did you mean deadline?\n"


def test_check_warns_of_a_secret_that_others_can_read(lab):
    file = lab.folder / "config.toml"
    file.write_text("[queue]\npassword = 'hunter2'\n")
    file.chmod(0o644)
    assert "chmod 600" in lab.run("config", "check").stderr
    file.chmod(0o600)
    assert "chmod" not in lab.run("config", "check").stderr


def test_the_file_in_the_working_folder_is_found(lab):
    del lab.environ  # not to be mistaken for a flag
    lab.environ = {"LABMON_CONFIG": ""}
    (lab.folder / "config.toml").write_text("[scan]\nrate = 7\n")
    rows = json.loads(lab.run("config", "show", "--format", "json").stdout)
    assert {"key": "scan.rate", "value": "7", "source": "config.toml"} in rows


def test_the_schema_of_each_message_is_printed(lab):
    for name in ("discovery", "scan-finished", "system-status", "metrics", "alert"):
        assert json.loads(lab.run("config", "schema", name).stdout)["$schema"]
