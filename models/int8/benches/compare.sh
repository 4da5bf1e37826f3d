#!/usr/bin/env bash
# This engine beside onnxruntime on the same shipped networks, alternating in one run, on this machine. Prints one JSON
# object; progress goes to stderr. Ratios below 1 mean that this engine is faster.
#
#   compare.sh [--rounds N]      default 10; compare.py says what is measured and how
#
# Needs cargo, python3 with venv, and a Python package registry as pip is configured.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../../.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/compare-venv

if [[ ! -x $venv/bin/pip ]]; then python3 -m venv "$venv"; fi
"$venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy >&2
cargo build --quiet --release --workspace --bins --examples >&2
"$target/release/facelatch" models plan --out "$target/plans" >&2
exec "$venv/bin/python" "$here/compare.py" --run-plan "$target/release/examples/run_plan" \
    --facelatch "$target/release/facelatch" --plans "$target/plans" --zoo models/zoo "$@"
