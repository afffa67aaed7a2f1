# Recipes for working on Fanfare. `just` alone lists them.

_default:
    @just --list

# What must be clean before a commit: formatting, lints, docs, the habits of CONTRIBUTING.md
check: && tidy
    ./test.sh format lints docs

# Everything: installs what the tests need, then runs them all
test:
    ./test.sh

# The habits that can be counted: short files and functions, arrows that go down (tests/tidy/layers.toml)
tidy:
    cargo test --package fanfare-tidy

# What is lock-free, in every order of its threads: all models, or those with NAME in their name
loom name="":
    cargo test --package fanfare-loom {{name}}

# Start the broker on 127.0.0.1:8000, with any flags of `fanfare serve`
run *flags:
    cargo run --release -- serve {{flags}}

# Serve the example pages on http://127.0.0.1:9000
pages:
    python3 -m http.server --bind 127.0.0.1 --directory examples 9000

# Benchmarks of the hot path, e.g. `just bench batch` or `just bench --save-baseline before`
bench *args:
    cargo bench --workspace --bench '*' -- {{args}}

# Load on a running broker, or on one that is started for it, e.g. `just load fanout --subscribers 1000 --rate 1000`
load *args="fanout --subscribers 1000 --rate 1000 --size 128 --duration 5s":
    cargo build --release --workspace --bins
    cargo run --release -p fanfare-loadgen -- {{args}}

# Licences, advisories, doubled versions and sources of the dependencies (needs cargo-deny)
deny:
    cargo deny check

# Build each fuzz target and run it for a moment
fuzz seconds="20":
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v cargo-fuzz >/dev/null; then
        echo "missing: cargo-fuzz. Install it with: cargo install cargo-fuzz" >&2
        exit 1
    fi
    # libFuzzer needs flags that a stable compiler takes only with this.
    export RUSTC_BOOTSTRAP=1
    for target in $(cargo fuzz list); do
        echo "=== $target"
        cargo fuzz run "$target" -- -max_total_time={{seconds}}
    done
