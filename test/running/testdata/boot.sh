#!/bin/sh
# Boots systemd in a copy of this machine, and has it run the package's service:
# boot.sh PACKAGE NEXT. Run it in a mount namespace of its own. Each line that
# begins with "ok" is something that was found so.
set -eu

. "$(dirname "$0")/copy.sh"
cp "$(dirname "$0")/service.sh" /mnt/root/root/service.sh
cd /mnt/root
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mount -t proc proc proc
rm -rf etc/systemd/system/*.wants # nothing of this machine is to be started
chroot . dpkg -i /root/package.deb >/dev/null 2>&1
sed -i 's/^#hostname = .*/hostname = "mail.corp.test"/; s/^#postmaster = .*/postmaster = "admin@else.test"/; s/:25"/:901"/' etc/postern/postern.toml
sed -i 's/:25/:901/' lib/systemd/system/postern.socket
printf '[submission]\ndirectory = "/var/spool/postern"\n' >>etc/postern/postern.toml
# A watchdog of whose end a test can wait.
mkdir -p etc/systemd/system/postern.service.d
printf '[Service]\nWatchdogSec=3s\nTimeoutAbortSec=1s\nRestartSec=100ms\n' >etc/systemd/system/postern.service.d/quick.conf
cat >etc/systemd/system/test.service <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
StandardOutput=append:/root/found
StandardError=append:/root/found
ExecStart=/bin/sh /root/service.sh
ExecStopPost=/bin/systemctl --force --force poweroff
UNIT
# The processes of this machine are hidden from it, as it is their first.
unshare --pid --fork --cgroup --uts --ipc sh -c 'mount -t proc proc /mnt/root/proc && exec chroot /mnt/root env container=test /lib/systemd/systemd --system --unit=test.service --show-status=0' >/dev/null 2>&1 || true
cat root/found
