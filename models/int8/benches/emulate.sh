#!/usr/bin/env bash
# The same bits on ARM: cross-builds the crate, runs its kernel tests on an emulated Cortex-A72 (Raspberry Pi 4) and
# Cortex-A76 (Raspberry Pi 5), then every plan on every instruction set there and here, and compares the digests.
# Prints a table; exit code 1 if any digest differs or an inner loop of the ARM build stores on the stack. As root on
# Debian it installs what it needs.
#
#   emulate.sh [--plans FOLDER] [--pictures FILE]
#
# Plans: `facelatch models plan --out FOLDER` (default target/plans). Pictures: raw u8 RGB, as `run_plan --help` says;
# without them, noise.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/arm.sh"

plans=$target/plans
pictures=()
while (($#)); do
    case $1 in
    --plans) plans=$2 ;;
    --pictures) pictures=(--pictures "$2") ;;
    *)
        say "unknown: $1; usage: emulate.sh [--plans FOLDER] [--pictures FILE]"
        exit 2
        ;;
    esac
    shift 2
done
shopt -s nullglob
files=("$plans"/*.plan)
if ((${#files[@]} == 0)); then
    say "no plans in $plans: facelatch models plan --out $plans"
    exit 2
fi

install qemu-aarch64-static qemu-user-static
install_compiler
say "building"
cargo build --quiet --release --manifest-path "$root/Cargo.toml" -p facelatch-int8 --example run_plan
arm_cargo build --example run_plan
host_run_plan=$target/release/examples/run_plan

# The kernel that a processor is emulated for; without it there would be nothing to compare.
declare -A expected=([cortex-a72]=neon [cortex-a76]=dotprod)
for cpu in cortex-a72 cortex-a76; do
    say "kernel tests on $cpu"
    arm_cargo test --test kernels
    isas=$(qemu-aarch64-static -cpu $cpu "$arm_run_plan" --isas)
    if [[ ${isas%%$'\n'*} != "${expected[$cpu]}" ]]; then
        say "$cpu: ${expected[$cpu]} is not the best instruction set it finds"
        exit 1
    fi
done
failed=0
row() { printf '%-14s %-11s %-11s %-16s %s\n' "$@"; }
# compare PLAN WHERE COMMAND...: each instruction set of the command's processor; the first of all is the reference.
compare() {
    local plan=$1 where=$2 isa sha verdict
    shift 2
    local size=()
    # The only network that takes any size; this is a level of a camera frame's pyramid.
    if [[ $plan == *pnet* ]]; then size=(--size 96x128); fi
    for isa in $("$@" --isas); do
        sha=$("$@" "$plan" --isa "$isa" --digest "${size[@]}" "${pictures[@]}" | sed -E 's/.*"sha256": "([0-9a-f]{64})".*/\1/')
        : "${reference:=$sha}"
        verdict=same
        if [[ $sha != "$reference" || ${#sha} != 64 ]]; then
            verdict=DIFFERENT
            failed=1
        fi
        row "$(basename "$plan" .plan)" "$where" "$isa" "${sha:0:16}" $verdict
    done
}
row plan where isa sha256 ""
for plan in "${files[@]}"; do
    reference=
    compare "$plan" here "$host_run_plan"
    for cpu in cortex-a72 cortex-a76; do
        compare "$plan" $cpu qemu-aarch64-static -cpu $cpu "$arm_run_plan"
    done
done
say "inner loops of the ARM build"
OBJDUMP=aarch64-linux-gnu-objdump arm_cargo test --test hot_loops -- --nocapture || failed=1
exit $failed
