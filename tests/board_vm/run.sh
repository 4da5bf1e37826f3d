#!/usr/bin/env bash
# A whole door on an emulated arm64 board, in one command: builds facelatchd for ARM and what it runs on here (Debian's own
# arm64 kernel, a loopback camera, a simulated GPIO chip), boots it, and lets main.rs beside this be its host, its visitors
# and its wires. As root on Debian it installs what it needs; nothing of the emulated machine is installed here.
#
#   tests/board_vm/run.sh
#
# The log is in $CARGO_TARGET_DIR/board_vm/log (target/board_vm/log), the kernel's beside it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

here=$root/tests/board_vm
machine=$target/board_vm
share=$machine/share
mkdir -p "$share"

install_tools
facelatchd=$("$root/boards/deploy/cross.sh" | head -n 1)
unpack_kernel
build_modules
for program in camera witness; do
    aarch64-linux-gnu-gcc -O2 -Wall -Wextra -Werror -static -o "$share/$program" "$here/guest/$program.c"
done
initramfs "$here/guest" "$machine/initrd.gz" virtio_pci virtio_console 9pnet_virtio 9p configfs gpio-sim v4l2loopback
cp "$kernel" "$machine/vmlinuz"
cp "$facelatchd" "$share/"
cp -r "$root/models/zoo" "$share/"

# Everything is built before the clock starts: the same packages as elsewhere, so that nothing is built twice.
tests=(-p facelatch-device -p facelatch-host -p facelatch-tests)
cargo build --release --manifest-path "$root/Cargo.toml" "${tests[@]}" --bins >&2
cargo test --release --manifest-path "$root/Cargo.toml" "${tests[@]}" --test board_vm --no-run >&2
FACELATCH_BOARD_VM=$machine timeout 900 cargo test --release --manifest-path "$root/Cargo.toml" "${tests[@]}" \
    --test board_vm -- --ignored --nocapture 2>&1 | tee "$machine/log"
