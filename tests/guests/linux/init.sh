#!/bin/sh
# The first process of a Linux guest: work whose results are known, then the end. It says how each part went.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
# Messages of the kernel would come between ours.
echo 1 >/proc/sys/kernel/printk
echo "GUEST: userspace $(uname -m)"

failed=
is() {
    if [ "$2" = "$3" ]; then
        echo "GUEST: ok $1"
    else
        echo "GUEST: BAD $1: $2 instead of $3"
        failed=1
    fi
}
word() {
    read -r first rest
    echo "$first"
}

# Integer and SSE-free arithmetic, pipes, processes.
is md5 "$(seq 1 5000 | md5sum | word)" a5a208cd26b07cadade3450fe14d1d93
is sha1 "$(seq 1 5000 | gzip | gunzip | sha1sum | word)" 963e5bc9acda937890f65d420f3902e4a5610dff
is xz "$(xz -dc /numbers.xz | sha256sum | word)" 856e6cd2d82dac548b3733d3a52f711b525b6fe5090f2926e6c30a37a760ed22
is bc "$(echo 'scale=60; 4*a(1)' | bc -l)" 3.141592653589793238462643383279502884197169399375105820974944
is factor "$(factor 1000000016000000063)" "1000000016000000063: 1000000007 1000000009"
is pipe "$(seq 0 299 | sort -rn | head -n 1)" 299
is fork "$(n=0; while [ $n -lt 30 ]; do (exit $n); echo -n $?,; n=$((n + 1)); done | wc -c)" 80
# Floating point.
is awk "$(awk 'BEGIN { for (i = 1; i <= 2000; i++) s += 1/i/i - i/7.5; printf "%.9f", s }')" -266798.355565808
# Time.
before=$(cut -d. -f1 /proc/uptime)
sleep 2
slept=$(($(cut -d. -f1 /proc/uptime) - before))
is sleep "$([ $slept -ge 1 ] && [ $slept -le 4 ] && echo two)" two
is date "$(date -u +%Y-%m-%d)" 2024-01-01

# Drives, in machines that have them.
for module in $(cat /modules 2>/dev/null); do
    insmod "/lib/$module" || failed=1
done
if [ -e /modules ]; then
    tries=0
    while [ ! -b /dev/sda ] && [ ! -b /dev/sr0 ] && [ $tries -lt 10 ]; do
        sleep 1
        tries=$((tries + 1))
    done
    for drive in sda sr0; do
        [ -b /dev/$drive ] && echo "GUEST: $drive $(cat /sys/block/$drive/size) $(dd if=/dev/$drive bs=64k count=16 2>/dev/null | md5sum | word)"
    done
    if [ -b /dev/sda ]; then
        dd if=/dev/zero of=/dev/sda bs=4k count=64 seek=512 2>/dev/null
        sync
        # Read again from the disk.
        echo 3 >/proc/sys/vm/drop_caches
        is diskwrite "$(dd if=/dev/sda bs=4k count=64 skip=512 2>/dev/null | md5sum | word)" ec87a838931d4d5d2e94a04644788a55
    fi
    if [ -b /dev/sr0 ]; then
        mkdir /cd
        mount -t iso9660 -o ro /dev/sr0 /cd
        is cdrom "$(ls /cd/boot/loader)" /cd/boot/loader
    fi
fi
cat /sys/devices/system/clocksource/clocksource0/current_clocksource
grep -E 'timer|ttyS0|ata|rtc|i8042|acpi|LOC' /proc/interrupts

[ -z "$failed" ] && echo GUEST-TESTS-PASSED || echo GUEST-TESTS-FAILED
if grep -q guest.hold /proc/cmdline; then
    while :; do sleep 60; done
fi
sync
poweroff -f
