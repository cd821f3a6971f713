#!/usr/bin/env bash
# Install the servers and tools that the tests start, or the packages named as arguments.
# Debian and Ubuntu, as root or with sudo; elsewhere it says what to install.
set -euo pipefail

there() { # a program in the path, or a file by a pattern
    case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

packages=("$@")
if [ ${#packages[@]} -eq 0 ]; then
    # package:a program of it
    for pair in postgresql:/usr/lib/postgresql/*/bin/postgres pgbouncer:pgbouncer redis-server:redis-server \
        rabbitmq-server:rabbitmq-server openssh-server:/usr/sbin/sshd openssh-client:ssh openssl:openssl \
        iproute2:ip nftables:nft nmap:nmap systemd:systemd-analyze util-linux:setpriv bsdutils:script procps:ps \
        prometheus-alertmanager:prometheus-alertmanager \
        chromium:chromium fonts-dejavu-core:/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf \
        busybox:busybox dash:dash mksh:mksh zsh:zsh tcsh:tcsh fish:fish; do
        there "${pair#*:}" || packages+=("${pair%%:*}")
    done
fi
[ ${#packages[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "Please install these (their names on Debian), then try again: ${packages[*]}" >&2
    exit 1
elif [ "$(id -u)" -eq 0 ]; then
    become=()
elif sudo -n true 2>/dev/null; then
    become=(sudo)
else
    echo "Please run this, then try again: sudo apt-get install ${packages[*]}" >&2
    exit 1
fi
"${become[@]}" apt-get update -q
"${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"
