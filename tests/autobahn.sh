#!/usr/bin/env bash
# Runs the Autobahn test suite's fuzzing client against the broker's raw endpoint, where one's own publications come back.
#
# usage: tests/autobahn.sh        exit 0: no case failed, 1: one did, 77: skipped, there is no Python 2.7
#
# FANFARE_BIN   the broker             (target/debug/fanfare)
# PYTHON27      a Python 2.7           (python2.7, or pyenv's)
# NON_STRICT    cases that may be right later than the suite would have it, with blanks between   (none)
#
# The suite is the PyPI package autobahntestsuite, which runs on Python 2.7 alone; it goes into a virtual environment
# under the target directory. Groups 12 and 13 (permessage-deflate) are left out: the broker does not offer compression.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly SUITE=autobahntestsuite==25.10.1
readonly CASES='"1.*","2.*","3.*","4.*","5.*","6.*","7.*","9.*","10.*"'
readonly CASE_COUNT=301

target=${CARGO_TARGET_DIR:-$PWD/target}
broker=${FANFARE_BIN:-$target/debug/fanfare}
work=$target/autobahn
venv=$work/venv

find_python() {
  if [[ -n ${PYTHON27:-} ]]; then echo "$PYTHON27"; return; fi
  local python
  # pyenv's shim of that name answers only where a 2.7 is chosen: ask it for each one it has, and try what it gives.
  for python in $(type -aP python2.7) "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
    if "$python" -c '' 2>/dev/null; then echo "$python"; return; fi
  done
}

install_suite() {
  local python=$1
  echo "autobahn: installing $SUITE"
  rm -rf "$venv" "$work/bootstrap"
  export PYTHONWARNINGS=ignore PIP_NO_PYTHON_VERSION_WARNING=1
  # The last virtualenv that knows Python 2.7, kept apart from the user's own packages.
  "$python" -m pip install -q --target "$work/bootstrap" virtualenv==20.15.1
  PYTHONPATH=$work/bootstrap "$python" -m virtualenv -q "$venv"
  # setuptools and incremental: the newest ones under which the suite's Twisted builds.
  "$venv/bin/pip" install -q setuptools==44.0.0 incremental==16.10.1
  "$venv/bin/pip" install -q "$SUITE"
}

# Starts the broker on a free port and sets `address` and `broker_pid`.
start_broker() {
  : >"$work/broker.log" # there before it is first looked into
  FANFARE_BIN= FANFARE_LIMITS__MESSAGE_SIZE=32MiB FANFARE_LIMITS__MESSAGE_FRAGMENTS=1000000 \
    "$broker" serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 >"$work/broker.log" 2>&1 &
  broker_pid=$!
  trap 'kill "$broker_pid" 2>/dev/null || true' EXIT
  for ((tries = 0; tries < 200; tries++)); do
    address=$(sed -n 's/.*"public":"\([^"]*\)".*/\1/p' "$work/broker.log" | head -n 1)
    if [[ -n $address ]]; then return; fi
    kill -0 "$broker_pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "autobahn: the broker did not start:" >&2
  cat "$work/broker.log" >&2
  exit 1
}

python=$(find_python)
if [[ -z $python ]]; then
  cat >&2 <<'NOTICE'
************************************************************************
*  SKIPPED: the Autobahn test suite. It runs on Python 2.7, and there  *
*  is none here. With pyenv: pyenv install 2.7.18. Or: PYTHON27=PATH   *
************************************************************************
NOTICE
  exit 77
fi

mkdir -p "$work"
"$venv/bin/wstest" --help >/dev/null 2>&1 || install_suite "$python"
start_broker

rm -rf "$work/report"
cat >"$work/spec.json" <<SPEC
{
  "outdir": "$work/report",
  "servers": [{"agent": "fanfare", "url": "ws://$address/ws/autobahn"}],
  "cases": [$CASES],
  "exclude-cases": [],
  "exclude-agent-cases": {}
}
SPEC
echo "autobahn: groups 1 to 7, 9 and 10 against ws://$address/ws/autobahn (12 and 13, compression, are not implemented)"
if ! timeout 300 "$venv/bin/wstest" -m fuzzingclient -s "$work/spec.json" >"$work/wstest.log" 2>&1; then
  echo "autobahn: the suite ended early:" >&2
  tail -n 20 "$work/wstest.log" >&2
  exit 1
fi
if ! kill -0 "$broker_pid" 2>/dev/null; then
  echo "autobahn: the broker ended during the tests:" >&2
  tail -n 20 "$work/broker.log" >&2
  exit 1
fi

"$venv/bin/python" - "$work/report/index.json" "$CASE_COUNT" "${NON_STRICT:-}" <<'REPORT'
from __future__ import print_function
import collections, json, sys

path, wanted, late = sys.argv[1], int(sys.argv[2]), sys.argv[3].split()
cases = json.load(open(path))["fanfare"]
order = sorted(cases, key=lambda case: [int(part) for part in case.split(".")])
# NON-STRICT: right in the end, but later than the suite would have it.
bad = [
    case for case in order
    if cases[case]["behavior"] not in (("OK", "INFORMATIONAL") + (("NON-STRICT",) if case in late else ()))
    or cases[case]["behaviorClose"] not in ("OK", "INFORMATIONAL")
]
for case in order:
    if case in bad or cases[case]["behavior"] == "NON-STRICT":
        print("autobahn: case %s: %s, close %s" % (case, cases[case]["behavior"], cases[case]["behaviorClose"]))
print("autobahn:", dict(collections.Counter(str(case["behavior"]) for case in cases.values())))
if len(cases) != wanted:
    sys.exit("autobahn: %d cases ran, not %d" % (len(cases), wanted))
print("%d passed, %d failed" % (len(cases) - len(bad), len(bad)))
sys.exit(1 if bad else 0)
REPORT
