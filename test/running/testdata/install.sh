#!/bin/sh
# Installs, upgrades, removes and purges a package in a copy of this machine, of
# which nothing is left: install.sh PACKAGE NEXT. Run it in a mount namespace of
# its own. Each line that begins with "ok" is something that was found so.
set -eu

. "$(dirname "$0")/copy.sh"
mount -t proc proc /mnt/root/proc
exec chroot /mnt/root sh -eu -c '
fail() { echo "FAILED: $*"; exit 1; }
ok() { echo "ok $*"; }
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ -d /run/systemd/system ]; then rmdir /run/systemd/system; fi
echo "man-db man-db/auto-update boolean false" | debconf-set-selections
wants=/etc/systemd/system/multi-user.target.wants/postern.service
! getent passwd postern >/dev/null || fail "the machine has a user postern already"

dpkg -i /root/package.deb 2>&1
[ "$(dpkg-query -W -f "\${db:Status-Abbrev}" postern)" = "ii " ] || fail "not installed"
ok installed
[ "$(stat -c "%U:%G %a" /var/lib/postern)" = "postern:postern 700" ] || fail "$(stat -c "%U:%G %a" /var/lib/postern)"
[ "$(stat -c "%U:%G %a" /etc/postern/postern.toml)" = "root:root 644" ] || fail "mode of the configuration"
getent passwd postern | grep -q ":/var/lib/postern:/usr/sbin/nologin$" || fail "$(getent passwd postern)"
ok user and directories
[ ! -L $wants ] || fail "enabled without a configuration"
ok not enabled
postern check 2>&1 | grep -q "hostname" || fail "check of the configuration as it comes: $(postern check 2>&1)"
[ "$(postern check 2>&1 | grep -c .)" = 2 ] || fail "the configuration as it comes lacks more than two settings: $(postern check 2>&1)"
ok what is to be configured is said

sed -i "s/^#hostname = .*/hostname = \"mail.corp.test\"/; s/^#postmaster = .*/postmaster = \"admin@else.test\"/; s/:25\"/:2599\"/" /etc/postern/postern.toml
postern check || fail "the configuration with hostname and postmaster"
ok configured
postern serve --user postern >/root/log 2>&1 &
n=0
until postern status >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 200 ] || fail "$(cat /root/log)"; sleep 0.1; done
postern status
postern stop
wait
ok served

systemctl enable postern 2>&1
dpkg -i /root/next.deb 2>&1
grep -q corp.test /etc/postern/postern.toml || fail "the upgrade has changed the configuration"
postern check >/dev/null || fail "the configuration after the upgrade"
[ -L $wants ] || fail "disabled by the upgrade"
ok upgraded
man -w postern-queue-list >/dev/null && man -w postern.toml >/dev/null || fail "manual pages"
ok manual

dpkg -r postern 2>&1
[ ! -e /usr/bin/postern ] && [ -e /etc/postern/postern.toml ] && [ -d /var/lib/postern/queue ] || fail "after the removal"
ok removed
dpkg -i /root/next.deb 2>&1
[ -L $wants ] || fail "not enabled any more"
[ ! -e /etc/systemd/system/postern.service ] || fail "masked"
systemctl disable postern 2>&1
dpkg -i /root/next.deb 2>&1
[ ! -L $wants ] || fail "enabled by an upgrade"
ok as the operator wants it
cp /etc/postern/postern.toml /root/kept.toml
dpkg -P postern 2>&1
[ ! -e /etc/postern ] && [ -d /var/lib/postern/queue ] || fail "after the purge"
[ ! -L /etc/systemd/system/postern.service ] || fail "still masked after the purge"
ok purged

rm -rf /var/lib/postern
mkdir /etc/postern
mv /root/kept.toml /etc/postern/postern.toml
dpkg --force-confold -i /root/package.deb 2>&1
[ -L $wants ] || fail "with a configuration it is not enabled"
ok enabled with a configuration
dpkg -P postern 2>&1
[ ! -e /var/lib/postern ] || fail "an empty data_dir is left"
[ ! -L $wants ] || fail "still enabled after the purge"
ok nothing left
'
