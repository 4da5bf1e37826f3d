# What run.sh here and in ../board_raspi3b share; sourced, not run. Debian's own arm64 kernel, modules and programs, unpacked
# from its packages and never installed, made into what an emulated machine boots from: $kernel and an initramfs.
#
# Sets, beside what arm.sh sets, $unpacked (every package, unpacked over another), $version (of the kernel)
# and $modules.

source "$(dirname "${BASH_SOURCE[0]}")/../../models/int8/benches/arm.sh"

# install_tools: what builds and emulates, on this machine.
install_tools() {
    install qemu-system-aarch64 qemu-system-arm
    install depmod kmod
    install cpio cpio
    install make make
    install xz xz-utils
    install_compiler
}

# unpack PACKAGE...: downloads what is not there yet and unpacks it into $unpacked.
unpack() {
    local package stamp
    mkdir -p "$unpacked" "$downloads"
    for package in "$@"; do
        stamp=$downloads/${package//:/_}.unpacked
        if [[ -e $stamp ]]; then continue; fi
        say "downloading $package"
        rm -f "$downloads/${package%:*}"_*.deb
        # apt drops its privileges where it may not write.
        (cd "$downloads" && apt-get -o APT::Sandbox::User=root download -qq "$package" >&2)
        dpkg-deb -x "$downloads/${package%:*}"_*.deb "$unpacked"
        rm "$downloads/${package%:*}"_*.deb
        touch "$stamp"
    done
}

# unpack_kernel: Debian's newest arm64 kernel, busybox, and the C library that programs of ours are linked to.
unpack_kernel() {
    version=$(apt-cache depends linux-image-arm64:arm64 | sed -n 's/.*Depends: linux-image-\([^:]*\).*/\1/p' | head -n 1)
    if [[ -z $version ]]; then
        say "no arm64 kernel is known: run apt-get update"
        exit 4
    fi
    unpacked=$target/machine/$version
    downloads=$target/machine/packages-$version
    modules=$unpacked/lib/modules/$version
    kernel=$unpacked/boot/vmlinuz-$version
    unpack "linux-image-$version:arm64" busybox-static:arm64 libc6:arm64 libgcc-s1:arm64
}

# build_module NAME FOLDER: an out-of-tree module, against Debian's headers, into the kernel's own folder.
build_module() {
    local name=$1 folder=$2 headers=$unpacked/usr/src/linux-headers-$version
    if [[ -e $modules/extra/$name.ko ]]; then return; fi
    say "building $name.ko"
    # The headers name each other by the places that they are installed to.
    sed -i "s|/usr/src/linux-headers-|$unpacked/usr/src/linux-headers-|; s|$unpacked$unpacked|$unpacked|" "$headers/Makefile"
    make -s -C "$headers" M="$folder" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- modules >&2
    mkdir -p "$modules/extra"
    cp "$folder/$name.ko" "$modules/extra/"
}

# build_modules: a camera that is fed by a program, and a GPIO chip whose levels can be seen and set; Debian ships neither.
build_modules() {
    local gpio=$target/machine/gpio-sim-$version source=linux-source-6.1 v4l2
    unpack "linux-headers-$version:arm64" "linux-headers-${version%-arm64}-common" linux-kbuild-6.1:amd64 \
        v4l2loopback-dkms
    v4l2=$(echo "$unpacked"/usr/src/v4l2loopback-*)
    build_module v4l2loopback "$v4l2"
    if [[ ! -e $modules/extra/gpio-sim.ko ]]; then
        unpack $source
        mkdir -p "$gpio"
        tar -C "$gpio" --strip-components=1 -xf "$unpacked/usr/src/$source.tar.xz" \
            $source/drivers/gpio/gpio-sim.c $source/drivers/gpio/gpiolib.h $source/kernel/irq/irq_sim.c
        mv "$gpio/drivers/gpio/gpio-sim.c" "$gpio/gpio_sim_main.c"
        mv "$gpio/drivers/gpio/gpiolib.h" "$gpio/kernel/irq/irq_sim.c" "$gpio/"
        # Not exported to modules; the same by two calls that are.
        sed -i 's/irq_to_desc(\(irqnum\))/irq_data_to_desc(irq_get_irq_data(\1))/' "$gpio/irq_sim.c"
        printf 'obj-m := gpio-sim.o\ngpio-sim-y := gpio_sim_main.o irq_sim.o\n' >"$gpio/Makefile"
        build_module gpio-sim "$gpio"
    fi
}

# initramfs FOLDER FILE MODULE...: busybox, the C library, the modules with what they need, and FOLDER over it, packed.
initramfs() {
    local folder=$1 file=$2 made=$target/machine/initramfs module path
    shift 2
    rm -rf "$made"
    mkdir -p "$made"/{bin,proc,sys,dev,tmp,run,share,data} "$made/lib/modules/$version"
    cp "$unpacked/bin/busybox" "$made/bin/"
    local libraries=$unpacked/lib/aarch64-linux-gnu
    cp "$libraries"/{ld-linux-aarch64.so.1,libc.so.6,libm.so.6,libgcc_s.so.1} "$made/lib/"
    depmod -b "$unpacked" "$version"
    for module in "$@"; do
        # What is built into the kernel is named and needs no file.
        for path in $(modprobe -d "$unpacked" -S "$version" --show-depends "$module" | sed -n 's/^insmod //p'); do
            mkdir -p "$made/$(dirname "${path#"$unpacked"}")"
            cp "$path" "$made/${path#"$unpacked"}"
        done
    done
    cp "$modules"/modules.{order,builtin,builtin.modinfo} "$made/lib/modules/$version/"
    depmod -b "$made" "$version"
    cp -r "$folder/." "$made/"
    (cd "$made" && find . | cpio --quiet -o -H newc | gzip -1) >"$file"
}
