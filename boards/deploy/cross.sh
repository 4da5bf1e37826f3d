#!/usr/bin/env bash
# facelatchd for a Raspberry Pi or another arm64 board, on an x86-64 Debian: cross-builds it with every driver, strips it, and
# prints where it is, its size, and the C library it needs. As root it installs what it needs.
#
#   boards/deploy/cross.sh           builds
#   boards/deploy/cross.sh --size    builds, and fails if it is larger than wanted
#   boards/deploy/cross.sh --test    runs the daemon's unit tests as ARM programs, on an emulated Raspberry Pi 5
#
# Debian's compiler has an arm64 standard library, rustup's has not here. It is another one, so it has a target folder of its
# own: $CARGO_TARGET_DIR/arm64 (target/arm64). From nothing it takes 27 minutes of processor time, the last ten of them, which
# optimize the program as a whole, on one processor.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${FACELATCH_ARM64_TARGET:-${CARGO_TARGET_DIR:-$root/target}/arm64}
triple=aarch64-unknown-linux-gnu
# Largest program: what still copies in a moment and leaves room on a small card.
most_bytes=20000000

say() { printf '%s\n' "$*" >&2; }

# The v4l driver's bindings are made by libclang, from the headers of libc6-dev-arm64-cross.
packages=(rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross libclang-dev
    qemu-user-static)
if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    if [[ $(id -u) != 0 ]]; then
        say "missing: some of ${packages[*]}; run as root once"
        exit 4
    fi
    say "installing ${packages[*]}"
    dpkg --add-architecture arm64
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends \
        "${packages[@]}" >&2
fi

cross() {
    RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=$target CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu cortex-a76" \
        cargo "$1" --profile board --manifest-path "$root/Cargo.toml" --target $triple -p facelatch-device \
        --features pi,gpio,v4l "${@:2}"
}

case ${1-} in
'' | --size) cross build --bin facelatchd >&2 ;;
--test)
    cross test --lib
    exit
    ;;
*)
    say "unknown: $1; usage: cross.sh [--size|--test]"
    exit 2
    ;;
esac

built=$target/$triple/board/facelatchd
stripped=$target/facelatchd
aarch64-linux-gnu-strip -o "$stripped" "$built"
bytes=$(stat -c %s "$stripped")
glibc=$(aarch64-linux-gnu-objdump -T "$stripped" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
printf '%s\n%s bytes, needs %s or later\n' "$stripped" "$bytes" "$glibc"
if ((bytes > most_bytes)); then
    say "larger than $most_bytes bytes"
    if [[ ${1-} == --size ]]; then exit 1; fi
fi
