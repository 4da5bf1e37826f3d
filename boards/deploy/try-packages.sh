#!/usr/bin/env bash
# Installs the arm64 packages into a clean Debian, with its own dpkg and scripts as ARM programs under qemu-user, looks whether
# every library, page and notice is there, checks two boards, shows the daemon a photo,
# and purges it again. Run by package.sh; as root.
#
#   try-packages.sh FOLDER      with facelatch-zoo_*_arm64.deb and facelatchd_*_arm64.deb in it
#
# The kernel is told how to run ARM programs inside a user namespace only: this machine's own settings stay as they are.
set -euo pipefail

self=$(realpath "${BASH_SOURCE[0]}")
root=$(cd "$(dirname "$self")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
clean=$target/clean-arm64
installed=$target/installed-arm64

say() { printf '%s\n' "$*" >&2; }

# in_namespace COMMAND...: as root of a user namespace with all of this machine's ids, and mounts of its own.
in_namespace() {
    local folder process
    folder=$(mktemp -d)
    mkfifo "$folder/made" "$folder/mapped"
    unshare --user --mount bash -c 'echo >"$1/made"; read -r <"$1/mapped"; shift; exec "$@"' bash "$folder" "$@" &
    process=$!
    read -r <"$folder/made"
    echo "0 0 65536" >"/proc/$process/uid_map"
    echo "0 0 65536" >"/proc/$process/gid_map"
    echo >"$folder/mapped"
    rm -r "$folder"
    wait $process
}

# From here on the kernel gives ARM programs to the emulator: by the first 20 bytes of their files.
register_emulator() {
    local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    echo ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):F" >/proc/sys/fs/binfmt_misc/register
    # A Raspberry Pi 4's.
    export QEMU_CPU=cortex-a72
}

# What `mmdebstrap --variant=minbase` makes, once.
make_clean_root() {
    if [[ -e $clean/made ]]; then return; fi
    say "making a clean arm64 Debian"
    rm -rf "$clean"
    mmdebstrap --quiet --mode=root --variant=minbase --arch=arm64 --include=systemd-standalone-sysusers \
        --aptopt='APT::Sandbox::User "root"' bookworm "$clean" 2>&1 | grep -v 'mount' >&2 || true
    chroot "$clean" dpkg --audit
    touch "$clean/made"
}

try_packages() {
    local there=$installed/packages library
    rm -rf "$installed"
    cp -a "$clean" "$installed"
    mkdir "$there"
    cp "$1"/facelatch-zoo_*_arm64.deb "$1"/facelatchd_*_arm64.deb "$there/"
    mount --rbind /proc "$installed/proc"
    mount --rbind /dev "$installed/dev"
    inside() { chroot "$installed" "$@"; }

    inside sh -c 'dpkg -i /packages/*.deb'
    library=$(inside ldd /usr/bin/facelatchd)
    if grep -q 'not found' <<<"$library"; then
        say "$library"
        exit 1
    fi
    for file in man/man8/facelatchd.8.gz bash-completion/completions/facelatchd zsh/vendor-completions/_facelatchd \
        fish/vendor_completions.d/facelatchd.fish doc/facelatchd/{copyright,notices.gz} doc/facelatch-zoo/copyright; do
        if [[ ! -s $installed/usr/share/$file ]]; then
            say "/usr/share/$file is not there, or empty"
            exit 1
        fi
    done
    inside facelatchd --version
    inside getent passwd facelatch
    inside facelatchd check --board sim
    # No Raspberry Pi: it has to say so, of line and camera, and with the code for "something is to be mended".
    local found code=0
    found=$(inside facelatchd check --board pi4 2>&1) || code=$?
    say "$found"
    if [[ $code != 1 ]] || ! grep -q 'gpio' <<<"$found" || ! grep -q '/dev/video' <<<"$found"; then
        say "facelatchd check --board pi4 ended with $code, not 1, or named no line or no camera"
        exit 1
    fi
    # No camera, no line: a photo before the simulated board, judged by the installed networks; it ends by itself.
    mkdir "$there/photos"
    cp "$root/tests/data/demo/visitors/biden.jpg" "$there/photos/"
    found=$(inside facelatchd --board sim --data /tmp/door --listen "" --replay /packages/photos --once 2>&1)
    say "$found"
    if ! grep -q 'denied: empty-gallery' <<<"$found" || ! grep -q 'door stopped' <<<"$found"; then
        say "facelatchd did not judge the photo, or did not stop in order"
        exit 1
    fi
    inside dpkg -P facelatchd facelatch-zoo
    if [[ -e $installed/usr/bin/facelatchd || -e $installed/etc/default/facelatchd ]]; then
        say "purging leaves something behind"
        exit 1
    fi
    say "installed, started and purged on a clean arm64 Debian"
}

if [[ ${1-} == --inside ]]; then
    register_emulator
    make_clean_root
    try_packages "$2"
else
    in_namespace bash "$self" --inside "$(realpath "$1")"
fi
