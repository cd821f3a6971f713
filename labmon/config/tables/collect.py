"""[collect]"""

from typing import Annotated, Literal

import msgspec

from labmon.config.tables.fields import Port, Table, WholePath, comment
from labmon.config.units import Seconds


class CollectConfig(Table, frozen=True, kw_only=True):
    """Collecting: how machines are measured over SSH."""

    user: Annotated[
        str,
        comment(
            "The account on the machines. Empty: the one in the ssh_config, else the one that let labmon in "
            "the last time, else the name of the account that runs labmon."
        ),
    ] = ""
    port: Annotated[Port, comment("The SSH port of machines for which the inventory has none.")] = 22
    key_files: Annotated[
        list[str],
        comment(
            "Private keys to try, in this order. Empty: the SSH agent, then the default ~/.ssh/id_* files."
        ),
    ] = msgspec.field(default_factory=list)
    password_file: Annotated[
        str, comment("A file whose first line is the account's password. Empty: keys only.")
    ] = ""
    password: Annotated[
        str,
        comment(
            "The password itself. Better in a file, or in the environment: LABMON_COLLECT_PASSWORD.",
            secret=True,
        ),
    ] = ""
    password_to: Annotated[
        Literal["known", "any"],
        comment(
            "known: send the password only to machines whose host key was pinned, or in known_hosts, before "
            "the login; a new machine is pinned by the first attempt and gets the password with the next. "
            "any: send it to new machines too."
        ),
    ] = "known"
    key_passphrase_file: Annotated[
        str, comment("A file whose first line is the passphrase of the private keys that have one.")
    ] = ""
    key_passphrase: Annotated[
        str,
        comment(
            "The passphrase itself. Better in a file, or in the environment: LABMON_COLLECT_KEY_PASSPHRASE.",
            secret=True,
        ),
    ] = ""
    ssh_config: Annotated[
        str,
        comment(
            "An OpenSSH client configuration, from which User, Port, IdentityFile, ProxyJump and "
            "HostKeyAlias of a machine are read. Values set here take precedence; no command in that file is "
            "ever run. Empty: none."
        ),
    ] = "~/.ssh/config"
    proxy_jump: Annotated[
        str,
        comment(
            "Bastions on the way to every machine, in order: [user@]host[:port],... Login to them is by key "
            "only. Empty: as in ssh_config."
        ),
    ] = ""
    allow: Annotated[
        list[str],
        comment(
            "Networks that labmon may connect to, machines and bastions, wherever an address comes from. Add "
            "your own where they are public."
        ),
    ] = msgspec.field(
        default_factory=lambda: [
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"),
            *("::1/128", "fc00::/7", "fe80::/10"),
        ]
    )
    host_keys: Annotated[
        Literal["accept-new", "strict", "off"],
        comment(
            "accept-new: pin a machine's host key when it is first seen, refuse a changed one. strict: "
            "refuse unknown keys too. off: no check. Anyone on the way can read along."
        ),
    ] = "accept-new"
    known_hosts: Annotated[
        list[str],
        comment("OpenSSH known_hosts files, consulted for machines without a pinned key."),
    ] = msgspec.field(default_factory=lambda: ["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"])
    concurrency: Annotated[int, comment("Number of machines measured at the same time.", ge=1, le=10000)] = 64
    per_subnet: Annotated[
        int,
        comment(
            "Maximum number of simultaneous logins in one /24 (IPv6: /64), for firewalls that limit new "
            "connections and for the MaxStartups of a bastion. 0: no limit.",
            ge=0,
        ),
    ] = 32
    deadline: Annotated[
        Seconds, comment("Time limit per machine for connecting, logging in and measuring.", least=1)
    ] = Seconds(20)
    facts: Annotated[
        bool,
        comment(
            "Ask each machine once a day, and after a boot, what it is: model, system, disks, cards. See: "
            "labmon systems facts"
        ),
    ] = True
    image_file: Annotated[
        WholePath,
        comment("A file on the machines whose first line is the version of their image. Empty: none."),
    ] = ""
    sudo_serial: Annotated[
        bool,
        comment(
            "Ask for the serial number with `sudo -n dmidecode` where the account may not read it. The "
            "line for sudoers: examples/facts/README.md"
        ),
    ] = False
    retry_first: Annotated[
        Seconds,
        comment("A machine that failed is skipped for this long, doubled with each further failure."),
    ] = Seconds(60)
    retry_max: Annotated[
        Seconds,
        comment(
            "Upper limit of that backoff. A machine is retried at once when a scan sees it, when another "
            "machine of its lab is back, when anything about its connection changes (account, key, port, "
            "bastion, ssh_config, pinned host key), and with --retry-all. 0s: no backoff, retry every time."
        ),
    ] = Seconds(1800)
