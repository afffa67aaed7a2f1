#!/usr/bin/env bash
# Checks that the published crates have not broken their public interface since the last release, by its tag (v1.2.3),
# unless their version says so. Exit 77: there is no release yet, or no cargo-semver-checks.
#
# usage: tests/semver.sh [REVISION]        compare with that revision instead
set -euo pipefail
cd "$(dirname "$0")/.."

baseline=${1:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)}
if [[ -z $baseline ]]; then echo "there is no release to compare with"; exit 77; fi
if ! command -v cargo-semver-checks >/dev/null; then
  echo "cargo-semver-checks is missing: cargo install --locked cargo-semver-checks"
  exit 77
fi
cargo semver-checks -p fanfare-protocol -p fanfare-client --baseline-rev "$baseline"
