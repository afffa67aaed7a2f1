#!/usr/bin/env bash
# A busy broker stays fair: while a fan-out runs at full rate, each newcomer is subscribed within 50 ms, and what a quiet connection
# says is answered within 50 ms: pings that are due every 10 ms, whatever became of those before, and publications one after the other.
#
# usage: loadgen/fairness.sh [PUBLICATIONS PER SECOND, to 1,000 subscribers; default 5000]
set -euo pipefail
cd "$(dirname "$0")/.."
rate=${1:-5000}
cargo build --release --quiet --workspace --bins
programs=${CARGO_TARGET_DIR:-target}/release
loadgen=$programs/fanfare-loadgen
log=$(mktemp)
"$programs/fanfare" serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 2>"$log" &
broker=$!
load= failed=0
trap 'kill $broker $load 2>/dev/null; rm -f "$log" "$log.load"' EXIT
until address=$(grep -oE '"public":"[^"]+' "$log" | cut -d'"' -f4) && [[ $address ]]; do
  kill -0 "$broker"
  sleep 0.1
done
to=(--url "ws://$address/ws" --server-pid "$broker" --quiet)

echo "the load: 1,000 subscribers, $rate publications/s"
"$loadgen" fanout --subscribers 1000 --rate "$rate" --duration 22s "${to[@]}" >"$log.load" &
load=$!
sleep 3 # until it has connected and its rate is up
echo
echo "newcomers, one at a time:"
"$loadgen" connect --concurrency 1 --duration 4s "${to[@]}" --assert 'connects_failed=0,connect_max<50ms' | grep -E '^(connects|ready)' || failed=1
for via in protocol frame; do
  echo
  echo "10 quiet connections, a ping every 10 ms on each, by $via:"
  "$loadgen" ping --via $via --connections 10 --duration 4s "${to[@]}" --assert 'unanswered=0,ping_max<50ms' | grep -E '^(pings? |unanswered)' || failed=1
done
echo
echo "a quiet connection, one publication after the other, each when the last is answered:"
"$loadgen" ingest --window 1 --duration 4s "${to[@]}" --assert 'refused=0,acknowledged_max<50ms' | grep -E '^ack' || failed=1
echo
wait "$load"
grep -E '^(delivered|lost|latency|server CPU)' "$log.load"
exit $failed
