#!/usr/bin/env bash
# Instructions executed for one inference on ARM, one thread: three passes minus one under QEMU's user emulation, halved,
# so that loading does not count. Prints {"cortex-a72": millions, "cortex-a76": millions}. As root on Debian it
# installs what it needs; QEMU's plugin header is taken from Debian's source package.
#
#   count.sh [PLAN]       default: target/plans/facenet.plan
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../arm.sh"

plan=${1:-$target/plans/facenet.plan}
if [[ ! -f $plan ]]; then
    say "no plan $plan: facelatch models plan --out $(dirname "$plan")"
    exit 2
fi
# The static one cannot load plugins.
install qemu-aarch64 qemu-user
install gcc gcc libc6-dev
install_compiler

build=$target/icount
mkdir -p "$build"

# Debian's sources again, as source packages, in a package state of our own.
fetch_header() {
    local apt=$build/apt file
    mkdir -p "$apt"/{lists/partial,cache/archives/partial,sources.list.d}
    for file in /etc/apt/sources.list.d/*.sources; do
        if [[ -f $file ]] && grep -q debian "$file"; then
            sed 's/^Types:.*/Types: deb-src/' "$file" >"$apt/sources.list.d/$(basename "$file")"
        fi
    done
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n '/debian/s/^deb /deb-src /p' >"$apt/sources.list" || true
    cat >"$apt/apt.conf" <<CONF
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/sources.list.d";
APT::Sandbox::User "root";
CONF
    export APT_CONFIG=$apt/apt.conf
    say "fetching QEMU's source package for its plugin header"
    apt-get update -qq >&2 || true
    (cd "$apt" && apt-get source -qq --download-only qemu >&2)
    tar -xOf "$apt"/qemu_*.orig.tar.xz --wildcards '*/include/qemu/qemu-plugin.h' >"$build/header"
    mv "$build/header" "$build/qemu-plugin.h"
    rm -r "$apt"
    unset APT_CONFIG
}
if [[ ! -s $build/qemu-plugin.h ]]; then fetch_header; fi

gcc -O2 -Wall -Wextra -fPIC -shared -I "$build" -o "$build/libicount.so" "$here/icount.c"
arm_cargo build --example run_plan

# executed CPU PASSES
executed() {
    qemu-aarch64 -cpu "$1" -plugin "$build/libicount.so" "$arm_run_plan" "$plan" --threads 1 --digest --runs "$2" \
        2>&1 >/dev/null | sed -n 's/^instructions //p'
}
separator='{'
for cpu in cortex-a72 cortex-a76; do
    one=$(executed $cpu 1)
    three=$(executed $cpu 3)
    awk -v s="$separator" -v cpu=$cpu -v n=$((three - one)) 'BEGIN { printf "%s\"%s\": %.1f", s, cpu, n / 2e6 }'
    separator=', '
done
echo '}'
