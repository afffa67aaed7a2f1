#!/usr/bin/env bash
# Nobody takes from others what is theirs: not by publishing without pause on the same worker, and not by what one can do without any right.
#
# usage: loadgen/starve.sh [DURATION of the first; default 1m]
set -euo pipefail
cd "$(dirname "$0")/.."
duration=${1:-1m}
cargo build --release --quiet --workspace --bins
loadgen=${CARGO_TARGET_DIR:-target}/release/fanfare-loadgen
failed=0
"$loadgen" neighbour --duration "$duration" --quiet \
  --assert 'answer_p99<50ms,answer_max<250ms,share_ratio<=1.5,listeners_closed=0' || failed=1
echo
"$loadgen" strangers --quiet --assert 'strangers_memory<=64MiB,strangers_ack_p99<10ms' || failed=1
exit $failed
