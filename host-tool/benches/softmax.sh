#!/usr/bin/env bash
# Our softmax training beside scikit-learn's LogisticRegression: the same data, C and class weights, on this machine, one after the
# other, several rounds. Sets up a Python environment of its own (scikit-learn from PyPI).
#
#   host-tool/benches/softmax.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet 'numpy==2.4.*' 'scikit-learn==1.8.*'

cat >"$folder/train.py" <<'PYTHON'
import sys, time, warnings
import numpy as np
from sklearn.linear_model import LogisticRegression

folder = sys.argv[1]
def read(name):
    labels = open(f"{folder}/{name}.txt").read().split("\n")
    return np.fromfile(f"{folder}/{name}.f32", "<f4").reshape(len(labels), -1), np.array(labels)
x, y = read("training")
unseen, expected = read("unseen")
# Our default C. Ours stops at a thousandth of the largest component of the first gradient; scikit-learn's `tol` bounds the
# component itself, of the same function.
_, of, counts = np.unique(y, return_inverse=True, return_counts=True)
classes = len(counts)
weight = 1 / (classes * counts[of])
first = np.abs(x.T @ ((1 / classes - np.eye(classes)[of]) * weight[:, None])).max()
for kind in ("f8", "f4"):
    start = time.time()
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=300, tol=1e-3 * float(first)).fit(x.astype(kind), y)
    took = time.time() - start
    print(f"scikit-learn, {kind}: {took:.2f} s, {model.score(unseen.astype(kind), expected):.4f} right, {model.n_iter_[0]} iterations")
PYTHON

# The same packages as elsewhere, so that nothing is built twice.
packages=(-p facelatch-models -p facelatch-device -p facelatch-host -p facelatch-tests)
cargo bench --quiet "${packages[@]}" --bench softmax --no-run
for round in $(seq "$rounds"); do
    echo "round $round"
    cargo bench --quiet "${packages[@]}" --bench softmax -- "$folder"
    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE "$folder/python/bin/python" "$folder/train.py" "$folder"
done
