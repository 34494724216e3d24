#!/bin/sh
# The first process of the smallest Linux guest: klibc's shell adds up.
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
n=0
sum=0
while [ $n -lt 2000 ]; do
    n=$((n + 1))
    sum=$((sum + n * n))
done
echo "GUEST: klibc $(uname -m) sum $sum"
[ $sum = 2668667000 ] && echo GUEST-TESTS-PASSED
poweroff
