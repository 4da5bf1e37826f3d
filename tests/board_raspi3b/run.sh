#!/usr/bin/env bash
# The relay of a Raspberry Pi, driven by rppal through the registers of an emulated Raspberry Pi 3B (QEMU's model, Debian's own
# kernel), and read back by other processes. guest/init says what is tried. Prints a line each; exit code 1 if one failed.
# As root on Debian it installs what it needs.
#
#   tests/board_raspi3b/run.sh
#
# The log is in $CARGO_TARGET_DIR/board_raspi3b/log (target/board_raspi3b/log).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../board_vm/debian.sh"

here=$root/tests/board_raspi3b
machine=$target/board_raspi3b
# The whole machine, from its first instruction to the last line, takes seconds.
patience_s=300
checks=$(grep -cE '^ *is "' "$here/guest/init")
rm -rf "$machine/guest"
mkdir -p "$machine/guest"

install_tools
unpack_kernel
say "building the relay's program"
arm_env cargo build --quiet --release --manifest-path "$root/Cargo.toml" -p facelatch-boards --example relay --features pi \
    --target aarch64-unknown-linux-gnu
cp "$here/guest/init" "$root/boards/files/pi3.toml" "$machine/guest/"
aarch64-linux-gnu-strip -o "$machine/guest/relay" "$arm_target/aarch64-unknown-linux-gnu/release/examples/relay"
aarch64-linux-gnu-gcc -O2 -Wall -Wextra -Werror -static -o "$machine/guest/witness" "$here/guest/witness.c"
initramfs "$machine/guest" "$machine/initrd.gz"

# The second serial port is the console. There is no /dev/gpiomem without Raspberry Pi's own kernel: rppal takes /dev/mem.
rm -f "$machine/log"
qemu-system-aarch64 -M raspi3b -display none -monitor none -no-reboot \
    -kernel "$kernel" -initrd "$machine/initrd.gz" -dtb "$unpacked/usr/lib/linux-image-$version/broadcom/bcm2837-rpi-3-b.dtb" \
    -append "console=ttyS1,115200 rdinit=/init iomem=relaxed panic=-1" \
    -serial null -serial "file:$machine/log" </dev/null &
qemu=$!
trap 'kill $qemu 2>/dev/null || true' EXIT
for ((second = 0; second < patience_s; second++)); do
    if grep -q '^over' "$machine/log" 2>/dev/null || ! kill -0 $qemu 2>/dev/null; then break; fi
    sleep 1
done
tr -d '\r' <"$machine/log" | grep -E '^(ok|FAILED|over|Raspberry)' || true
if ! grep -q '^over' "$machine/log" || grep -q '^FAILED' "$machine/log" || [[ $(grep -c '^ok' "$machine/log") != "$checks" ]]; then
    say "failed: see $machine/log"
    exit 1
fi
