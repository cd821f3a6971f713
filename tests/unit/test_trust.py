"""Whose files count."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labmon.config.tables import StateConfig
from labmon.errors import ConfigError, PermissionNeeded
from labmon.trust import check_folder, check_owned

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")


@pytest.fixture
def file(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "config.toml").touch(mode=0o644)
    (tmp_path / "config.toml").chmod(0o644)
    return tmp_path / "config.toml"


def test_a_file_of_one_s_own_that_others_may_only_read_counts(file):
    check_owned(file)
    check_folder(file.parent)


# findings B1
@as_root
@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_file_of_another_account_does_not_count_and_the_error_names_the_owner_and_a_way_out(file, which):
    os.chown(file if which == "file" else file.parent, 65534, 0)
    with pytest.raises(ConfigError, match=r"belongs to nobody.*chown root") as caught:
        check_owned(file)
    assert str(file) in str(caught.value)


# findings B1
@pytest.mark.parametrize("which", ["file", "folder"])
@pytest.mark.parametrize("mode", [0o757, 0o666, 0o1777])
def test_what_others_may_write_does_not_count(file, which, mode):
    (file if which == "file" else file.parent).chmod(mode)
    with pytest.raises(ConfigError, match="may be written by everybody"):
        check_owned(file)


# findings B1
@as_root
def test_what_a_group_may_write_does_not_count_unless_it_is_the_owner_s_own(file, monkeypatch):
    file.chmod(0o664)
    with pytest.raises(ConfigError, match="may be written by the group"):
        check_owned(file)


# findings B1
@as_root
def test_a_link_leads_to_a_file_that_must_count_itself(file, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "theirs.toml").touch()
    os.chown(other / "theirs.toml", 65534, 65534)
    file.unlink()
    file.symlink_to(other / "theirs.toml")
    with pytest.raises(ConfigError, match="belongs to nobody"):
        check_owned(file)


def test_what_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_owned(tmp_path / "nothing")


# findings C2: as `runuser -u labmon -- labmon` in a clone in root's home
@as_root
@pytest.mark.parametrize("name", ["config.toml", "./config.toml", "../open/config.toml"])
def test_a_file_in_a_folder_that_cannot_be_reached_any_more_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "closed/open").mkdir(parents=True)
    (tmp_path / "closed/open/config.toml").touch()
    (tmp_path / "closed").chmod(0o700)
    script = (
        "import os, pathlib; from labmon.errors import ConfigError; from labmon.trust import check_owned\n"
        f"os.chdir({str(tmp_path / 'closed/open')!r}); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"assert pathlib.Path({name.replace('../open/', '')!r}).is_file()\n"
        f"try: check_owned(pathlib.Path({name!r}))\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{Path(name)}: whose it is cannot be checked")
    assert "--config" in done.stdout


@pytest.fixture
def state(tmp_path):
    tmp_path.chmod(0o755)
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


# findings B1
@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
def test_nothing_is_kept_in_a_state_folder_where_everybody_may_write(state, mode):
    state.chmod(mode)
    with pytest.raises(PermissionNeeded, match=f"{state} may be written by everybody.*chmod go-w {state}"):
        StateConfig(dir=str(state)).path  # noqa: B018
    assert StateConfig(dir=str(state)).folder == state


# findings B1
@as_root
@pytest.mark.parametrize("which", ["state", "its parent", "not there yet"])
def test_a_state_folder_of_another_account_is_refused_and_the_error_says_as_whom_to_run(state, which):
    os.chown(state if which == "state" else state.parent, 65534, 65534)
    if which == "not there yet":
        state.rmdir()
    with pytest.raises(PermissionNeeded, match=r"belongs to nobody.*runuser -u nobody -- labmon"):
        StateConfig(dir=str(state)).path  # noqa: B018


def test_a_state_folder_in_a_folder_for_everybody_is_trusted_only_if_nobody_can_replace_it(state):
    state.parent.chmod(0o1777)
    assert StateConfig(dir=str(state)).path == state
    state.parent.chmod(0o777)
    with pytest.raises(PermissionNeeded, match=f"{state.parent} may be written by everybody"):
        StateConfig(dir=str(state)).path  # noqa: B018
    with pytest.raises(PermissionNeeded, match="may be written by everybody"):
        StateConfig(dir=str(state / "new" / "deep")).path if not state.rmdir() else None
