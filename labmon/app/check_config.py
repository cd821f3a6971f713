"""The faults of a configuration that only the packages that use its values can see."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from labmon.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from labmon.config.load import Loaded


def faults(loaded: "Loaded") -> Iterator[str]:
    """What the packages that use the values would say of URLs, lists of addresses and bastions."""
    yield from _faults_of_database(loaded)
    yield from _faults_of_files(loaded)
    yield from _faults_of_collecting(loaded)
    yield from _faults_of_targets(loaded)
    yield from _faults_of_ranges(loaded)


def _faults_of_database(loaded: "Loaded") -> Iterator[str]:
    """What PostgreSQL's driver would say of the URL, which is not shown: it may hold a password."""
    from labmon import pg

    url = loaded.config.database.url
    source = loaded.sources["database.url"]
    if "://" in url and not url.startswith(("postgresql://", "postgres://")):
        yield f"{source}: [database] url: it does not begin with postgresql://"
    elif url:
        try:
            pg.settings(url, name="labmon config check")
        except pg.Error as error:
            yield f"{source}: [database] url: {pg.one_line(error)}"


def _faults_of_files(loaded: "Loaded") -> Iterator[str]:
    """What would be said of the files that are named: keys, passwords, certificates."""
    from labmon.collect.ssh.keys import read_key
    from labmon.collect.ssh.login import read_secret

    collect, queue = loaded.config.collect, loaded.config.queue
    secrets = {}
    for name in ("password_file", "key_passphrase_file"):
        try:
            secrets[name] = read_secret(collect, name)
        except ConfigError as error:
            yield f"{loaded.sources[f'collect.{name}']}: {error}"
    for file in collect.key_files:
        try:
            passphrase = collect.key_passphrase or secrets.get("key_passphrase_file", "")
            read_key(Path(file).expanduser(), passphrase)
        except ConfigError as error:
            yield f"{loaded.sources['collect.key_files']}: [collect] key_files: {error}"
    if queue.tls_ca and (why := _unreadable(queue.tls_ca)):
        yield f"{loaded.sources['queue.tls_ca']}: [queue] tls_ca: {queue.tls_ca}: {why}"


def _unreadable(file: str) -> str:
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            opened.read(1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def advice(loaded: "Loaded") -> Iterator[str]:
    """What works, and should not stay so: private keys that other accounts can read."""
    for file in loaded.config.collect.key_files:
        path = Path(file).expanduser()
        with suppress(OSError):
            if path.stat().st_mode & 0o077:
                yield f"{path} is a private key and others can read it: chmod 600 {path}"


def _faults_of_collecting(loaded: "Loaded") -> Iterator[str]:
    """What collecting would say of its networks, each of them, and of its bastions."""
    from labmon.collect.ssh.jump import parse_hops
    from labmon.collect.ssh.networks import AllowedNetworks

    settings = loaded.config.collect
    for text in settings.allow:
        try:
            AllowedNetworks([text])
        except ConfigError as error:
            yield f"{loaded.sources['collect.allow']}: {error}"
    try:
        parse_hops(settings.proxy_jump, f"{loaded.sources['collect.proxy_jump']}: [collect] proxy_jump")
    except ConfigError as error:
        yield str(error)


def _faults_of_targets(loaded: "Loaded") -> Iterator[str]:
    """What the notification services say of the URLs of the targets, and whether their templates render."""
    from labmon.alerts.notify.notifier import open_sender
    from labmon.app.alerts import templates

    for target in loaded.config.notify.targets:
        try:
            open_sender(target, loaded.config.notify)
            if target.template:
                templates.check(loaded.config, target.template, None)
        except ConfigError as error:
            yield f"{loaded.sources['notify.targets']}: {error}"
        except UsageError as error:
            yield f"{loaded.sources['notify.targets']}: [[notify.targets]] {target.name!r}: template: {error}"


def _faults_of_ranges(loaded: "Loaded") -> Iterator[str]:
    """What a scan would say of its lists of addresses."""
    from labmon.scan.targets.files import expand
    from labmon.scan.targets.target_set import parse

    for name in ("exclude", "allow"):
        for text in getattr(loaded.config.scan, name):
            try:
                parse(expand([text]), max_hosts=2**128, force=True)
            except UsageError as error:
                yield f"{loaded.sources[f'scan.{name}']}: [scan] {name}: {error}"
