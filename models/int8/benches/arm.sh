# What emulate.sh, icount/count.sh, .ci/arm and tests/board_* share; sourced, not run. Installs what is missing and cross-builds with Debian's
# compiler (rustup's has no ARM standard library here), in a target folder of its own.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
arm_target=$target/arm
arm_run_plan=$arm_target/aarch64-unknown-linux-gnu/release/examples/run_plan
arm_std=/usr/lib/rustlib/aarch64-unknown-linux-gnu

say() { printf '%s\n' "$*" >&2; }

# install COMMAND-OR-FILE PACKAGE...: installs the packages unless the command or file is there.
install() {
    local wanted=$1
    shift
    if command -v "$wanted" >/dev/null || [[ -e $wanted ]]; then return; fi
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        say "missing: $wanted; install $*"
        exit 4
    fi
    say "installing $*"
    if ! dpkg --print-foreign-architectures | grep -qx arm64; then
        dpkg --add-architecture arm64
    fi
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq \
        --no-install-recommends "$@" >&2
}

install_compiler() {
    install aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    # The standard library also brings the C library that emulated programs load; no -L, which would mix two of them.
    install "$arm_std" rustc-web libstd-rust-web-dev:arm64
}

# arm_env COMMAND...: with what cargo needs to build for aarch64; tests run on the processor named by $cpu.
arm_env() {
    RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=$arm_target \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu ${cpu:-cortex-a72}" \
        "$@"
}

# arm_cargo COMMAND...: cargo for aarch64, on the crate named by $crate.
arm_cargo() {
    arm_env cargo "$1" --quiet --release --manifest-path "$root/Cargo.toml" -p "${crate:-facelatch-int8}" \
        --target aarch64-unknown-linux-gnu "${@:2}" >&2
}
