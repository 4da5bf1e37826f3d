#!/usr/bin/env bash
# Debian packages: facelatch-zoo (the networks), facelatchd (the door) and facelatch (the host tool), for arm64 and amd64; then
# the arm64 ones are installed in a clean Debian under qemu-user, and started there. As root on Debian it installs
# what it needs.
#
#   boards/deploy/package.sh [FOLDER]      FOLDER: where the packages go (default target/deb)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=${1:-$target/deb}
arm64=aarch64-unknown-linux-gnu
amd64=x86_64-unknown-linux-gnu
arm_target=${FACELATCH_ARM64_TARGET:-$target/arm64}
mkdir -p "$out"
cd "$root"

say() { printf '%s\n' "$*" >&2; }

packages=(dpkg-dev jq qemu-user-static mmdebstrap arch-test)
if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    if [[ $(id -u) != 0 ]]; then
        say "missing: some of ${packages[*]}; run as root once"
        exit 4
    fi
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends \
        "${packages[@]}" >&2
fi
if ! command -v cargo-deb >/dev/null; then
    # A tool, not part of the product: its build stays out of our target folder.
    CARGO_TARGET_DIR=${TMPDIR:-/tmp}/cargo-deb-target cargo install --quiet --locked cargo-deb@3.8.0 >&2
fi

# deb PACKAGE ARGUMENT...: one package, of what is built.
deb() {
    local package=$1
    shift
    cargo deb --quiet --no-build --output "$out/" --package "$package" "$@" >&2
}

# papers PROGRAM PACKAGE TRIPLE FEATURES FOLDER: manual pages, completions and notices, into FOLDER. The pages are this machine's
# program's: its text is the same on every board.
papers() {
    local program=$target/release/$1 folder=$5/papers/$1
    rm -rf "$folder"
    mkdir -p "$folder"
    "$program" man "$folder/man"
    gzip -9n "$folder"/man/*
    "$program" completions bash >"$folder/$1"
    "$program" completions zsh >"$folder/_$1"
    "$program" completions fish >"$folder/$1.fish"
    boards/deploy/notices.sh "$2" "$3" "$4" | gzip -9n >"$folder/notices.gz"
}

say "building for amd64"
# The same packages as everywhere, so that nothing is built twice; the drivers of a board without a Raspberry Pi's.
cargo build --release -p facelatch-device -p facelatch-host -p facelatch-tests --bins \
    --features facelatch-device/gpio,facelatch-device/v4l >&2
papers facelatchd facelatch-device $amd64 gpio,v4l "$target/release"
papers facelatch facelatch-host $amd64 "" "$target/release"
for package in facelatch-models facelatch-device facelatch-host; do
    deb $package
done

say "building for arm64"
boards/deploy/cross.sh >&2
papers facelatchd facelatch-device $arm64 pi,gpio,v4l "$arm_target/$arm64/board"
for package in facelatch-models facelatch-device; do
    CARGO_TARGET_DIR=$arm_target deb $package --target $arm64 --profile board
done

boards/deploy/try-packages.sh "$out"

ls -l "$out"/*.deb | awk '{print $5, $NF}'
