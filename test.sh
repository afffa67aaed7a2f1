#!/usr/bin/env bash
# Installs what the tests need (on Debian and its kin; elsewhere it says what is missing) and runs everything:
# formatting, lints, docs, the client's features and packages, unit and integration tests (some against other brokers, see loadgen/compare/peers), doctests, each
# bench once, the pages in a browser, the Autobahn test suite.
#
# usage: ./test.sh [STEP...]        only the steps of these names, as in `./test.sh format lints "rust tests"`
# exit 0: all passed; it stops at the first failure
set -euo pipefail
cd "$(dirname "$0")"

wanted=("$@")
known=()
passed=()
skipped=()
current="set-up"

finish() {
  local status=$?
  echo
  echo "=== Summary"
  echo "passed: $(list "${passed[@]}")"
  echo "skipped: $(list "${skipped[@]}")"
  if ((status != 0)); then echo "FAILED: $current (exit $status)"; fi
}
trap finish EXIT

list() {
  if (($# == 0)); then echo none; return; fi
  local IFS=,
  echo "${*/#/ }"
}

# Whether one of the names behind the first is the same.
is_among() {
  local name
  for name in "${@:2}"; do
    if [[ $name == "$1" ]]; then return; fi
  done
  return 1
}

# Runs a command as a named step, if it is wanted. Exit 77 means that it could not run here.
step() {
  known+=("$1")
  if ((${#wanted[@]} > 0)) && ! is_among "$1" "${wanted[@]}"; then return; fi
  current=$1
  shift
  echo
  echo "=== $current"
  local status=0
  "$@" || status=$?
  case $status in
    0) passed+=("$current") ;;
    77) skipped+=("$current") ;;
    *) exit "$status" ;;
  esac
}

# The Debian packages that would bring what is not here.
missing_packages() {
  command -v cc >/dev/null || echo gcc libc6-dev
  command -v make >/dev/null || echo make
  command -v curl >/dev/null || echo curl
  command -v node >/dev/null || echo nodejs
  command -v npm >/dev/null || echo npm
  python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
  [[ -x ${CHROMIUM:-/usr/bin/chromium} ]] || echo chromium
}

install_tools() {
  if ! command -v cargo >/dev/null; then
    echo "missing: cargo. Install Rust 1.88 or newer with rustup, then run this again." >&2
    return 1
  fi
  local packages as_root=()
  read -ra packages <<<"$(missing_packages | xargs)"
  if ((${#packages[@]} == 0)); then echo "nothing is missing"; return; fi

  echo "missing, by their Debian names: ${packages[*]}"
  if ((EUID != 0)); then as_root=(sudo); fi
  if ! command -v apt-get >/dev/null || ! command -v "${as_root[0]:-true}" >/dev/null; then
    echo "install these by hand (CHROMIUM=PATH names a browser elsewhere), then run this again." >&2
    return 1
  fi
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"
}

# The tests against other brokers take those that are there.
install_peers() {
  if loadgen/compare/peers/install.sh; then
    # From now on one that does not start is a failure.
    export PEERS_REQUIRED=1
    return
  fi
  echo "SKIPPED: the tests against the peers that could not be installed" >&2
  return 77
}

rust_tests() {
  if command -v cargo-nextest >/dev/null; then
    cargo nextest run --workspace --no-fail-fast
  else
    cargo test --workspace --no-fail-fast --tests --lib --bins
  fi
}

# The contracts once more, with an engine that answers later.
late_answers() {
  export TEST_ENGINE=delayed
  if command -v cargo-nextest >/dev/null; then
    cargo nextest run -p fanfare --no-fail-fast contracts:: hostile::
  else
    cargo test -p fanfare --no-fail-fast --test it -- contracts:: hostile::
  fi
}

# The contracts once more, while every connection moves from worker to worker all the time.
moving_connections() {
  export TEST_MOVES=1
  if command -v cargo-nextest >/dev/null; then
    cargo nextest run -p fanfare --no-fail-fast contracts:: hostile::
  else
    cargo test -p fanfare --no-fail-fast --test it -- contracts:: hostile::
  fi
}

# Some of the contracts once more, with bytes that are encrypted on their way.
secured_connections() {
  export TEST_TLS=1
  if command -v cargo-nextest >/dev/null; then
    cargo nextest run -p fanfare --no-fail-fast contracts::{independence,lag,moving,order}:: hostile::framing::
  else
    cargo test -p fanfare --no-fail-fast --test it -- contracts::{independence,lag,moving,order}:: hostile::framing::
  fi
}

# What would be published, built from its packages. Before 1.90 cargo looks for the one in a registry for the other.
packages() {
  local cargo
  cargo=$(cargo --version | cut -d ' ' -f 2)
  if ! printf '1.90.0\n%s\n' "${cargo%%-*}" | sort -VC; then
    echo "SKIPPED: cargo $cargo is older than 1.90" >&2
    return 77
  fi
  # Cargo builds the client against the protocol as it unpacked it the last time, whatever has changed in it since: a version is taken to be
  # published once. What it unpacked of ours is of no use to anybody else.
  rm -rf "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/fanfare-{protocol,client}-[0-9]*
  cargo package --locked --allow-dirty -p fanfare-protocol -p fanfare-client
}

# The client without TLS, and with the provider that is not the default.
client_features() {
  cargo clippy --locked -p fanfare-client --no-default-features -- -D warnings
  cargo clippy --locked -p fanfare-client --no-default-features --features aws-lc-rs -- -D warnings
}

browser_tests() {
  npm ci --prefix examples/htmx
  npm ci --prefix tests/browser
  npm test --prefix tests/browser
}

step "tools" install_tools
step "format" cargo fmt --all --check
step "lints" cargo clippy --locked --workspace --all-targets -- -D warnings
step "docs" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
step "build" cargo build --workspace
step "client features" client_features
step "packages" packages
step "public interface" tests/semver.sh
step "peers" install_peers
step "rust tests" rust_tests
step "late answers" late_answers
step "moving connections" moving_connections
step "secured connections" secured_connections
step "doctests" cargo test --workspace --doc
# Each bench once and unoptimised: so that they go on working, not to measure.
step "benches" cargo test --workspace --bench '*'
step "browser tests" browser_tests
step "autobahn" tests/autobahn.sh

for name in "${wanted[@]}"; do
  if ! is_among "$name" "${known[@]}"; then
    current="there is no step \"$name\": $(list "${known[@]}")"
    exit 2
  fi
done
