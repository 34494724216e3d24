# Shared by ./demo and ./test: finds what is missing on this machine and installs it. Source it from bash.
#
# A requirement is one word, CHECK=PACKAGE. CHECK is a command, or a path (patterns allowed) if it has a slash in it. Whatever
# passes its check is left alone, wherever it came from.

# What `cargo build` needs: the CPU engine is C, configured by a script that asks for pkg-config and built by CMake; its Rust
# bindings are made by libclang.
BUILD_NEEDS=(gcc=gcc cmake=cmake make=make pkg-config=pkg-config libclang=libclang-dev)
# What debugging the examples needs.
DEMO_NEEDS=(gdb=gdb)
# What makes and runs the guests from Debian.
GUEST_NEEDS=(
    /usr/share/seabios/bios-256k.bin=seabios grub-mkimage=grub-common xorriso=xorriso mcopy=mtools xz=xz-utils tar=tar
    qemu-img=qemu-utils
)
# What the tests need: real debuggers, real firmware, real guests, and QEMU to compare with.
TEST_NEEDS=(
    gdb=gdb '/usr/lib/python3*/ensurepip=python3-venv' lldb-22=lldb-22 nasm=nasm ld=binutils
    qemu-system-x86_64=qemu-system-x86 "${GUEST_NEEDS[@]}"
)

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# libclang counts where the generator of the bindings looks for it, and only with the compiler's own headers.
have_libclang() {
    local dir
    compgen -G '/usr/lib*/llvm-*/lib/clang/*/include/stdbool.h' >/dev/null \
        || compgen -G '/usr/lib*/clang/*/include/stdbool.h' >/dev/null || return 1
    for dir in "${LIBCLANG_PATH:-/nonexistent}" /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib; do
        compgen -G "$dir/libclang*.so*" >/dev/null && return 0
    done
    return 1
}

have() {
    case $1 in
    libclang) have_libclang ;;
    */*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# Runs a command as root; without a terminal nobody is there to be asked for a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

can_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }
}

apt() {
    # dpkg wants /sbin in its path, which a plain user's does not have.
    as_root env DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin" apt-get -q "$@" >&2
}

# Whether apt's lists know all these packages.
apt_knows() {
    local package
    for package; do
        apt-cache show --no-all-versions "$package" >/dev/null 2>&1 || return 1
    done
}

# Installs the packages of the requirements that are not met.
install_missing() {
    local need check package packages=() checks=()
    for need; do
        check=${need%=*} package=${need##*=}
        if ! have "$check"; then
            checks+=("$check")
            packages+=("$package")
        fi
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    if ! can_install; then
        say "not found here: ${checks[*]}"
        say "on Debian 12 they come with: apt-get install ${packages[*]}"
        say "this is no system where I can do that (it takes apt-get, and root or sudo): please install their like"
        say "going on with what is there"
        return 0
    fi
    if ! apt_knows "${packages[@]}"; then
        say "updating the package lists (apt-get update)"
        apt update || say "they could not be updated; going on with what is there"
    fi
    local known=()
    for package in "${packages[@]}"; do
        if apt_knows "$package"; then
            known+=("$package")
        else
            say "apt knows no package $package: what needs it will fail. Debian 12 has it in its main or security archive"
            say "(bookworm and bookworm-security in /etc/apt/sources.list)"
        fi
    done
    [ ${#known[@]} -gt 0 ] || return 0
    say "installing: ${known[*]}"
    if ! apt install -y --no-install-recommends "${known[@]}"; then
        # The lists may be older than the archive.
        say "trying again with new package lists"
        if ! apt update || ! apt install -y --no-install-recommends "${known[@]}"; then
            say "could not install: ${known[*]}"
            return 1
        fi
    fi
    # What has come may have pushed out what was there: qemu-system-x86 of one release does that to the qemu-img of another.
    [ "${checks[*]}" = "${tried-}" ] || tried="${checks[*]}" install_missing "$@"
}

# Rust is the one thing that is expected to be here. It may be out of sight, though: installed by rustup for the user, while
# PATH or HOME are those of a job, a cron table or sudo.
find_cargo() {
    local home cargo toolchains
    home=$(getent passwd "$(id -u)" | cut -d: -f6)
    if ! command -v cargo >/dev/null; then
        for cargo in "${HOME:-}/.cargo/bin" "$home/.cargo/bin"; do
            [ ! -x "$cargo/cargo" ] || { PATH=$cargo:$PATH && break; }
        done
    fi
    if ! cargo=$(command -v cargo); then
        say "there is no cargo: install Rust 1.90 or newer, for example with rustup, and start me again"
        return 1
    fi
    if ! cargo --version >/dev/null 2>&1; then
        for toolchains in "${cargo%/.cargo/bin/cargo}/.rustup" "$home/.rustup"; do
            if [ -d "$toolchains" ] && RUSTUP_HOME=$toolchains cargo --version >/dev/null 2>&1; then
                export RUSTUP_HOME=$toolchains
                return 0
            fi
        done
        say "cargo is there but does not start:"
        cargo --version
    fi
}
