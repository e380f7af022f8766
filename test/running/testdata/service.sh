# What is done with the service, under the systemd that boot.sh has booted.
fail() {
	echo "FAILED: $*"
	systemctl status --no-pager --full postern.service
	journalctl --no-pager -o cat -u postern.service | tail -30
	exit 1
}
ok() { echo "ok $*"; }
property() { systemctl show --value -p "$1" postern.service; }
# until_ NAME VALUE waits until a property has a value; until_other NAME VALUE, until
# it has another and the service is there.
until_() {
	n=0
	until [ "$(property "$1")" = "$2" ]; do
		n=$((n + 1))
		[ $n -lt 300 ] || fail "$1 is $(property "$1"), not $2"
		sleep 0.1
	done
}
until_other() {
	n=0
	while [ "$(property "$1")" = "$2" ] || [ "$(property ActiveState)" != active ]; do
		n=$((n + 1))
		[ $n -lt 300 ] || fail "$1 stays $2"
		sleep 0.1
	done
}
greeting() { python3 -c 'import socket; print(socket.create_connection(("127.0.0.1", 901), 20).recv(99).decode())'; }

systemctl start postern.service || fail "it does not start"
[ "$(property StatusText)" = "Serving smtp at 127.0.0.1:901" ] || fail "status $(property StatusText)"
ok ready
pid=$(property MainPID)
is() { grep -Eq "^$1:[[:space:]]+$2$" "/proc/$pid/status" || fail "$1 is not $2: $(cat /proc/$pid/status)"; }
user=$(id -u postern)
is Uid "$user[[:space:]]$user[[:space:]]$user[[:space:]]$user"
is CapEff 0000000000000400
is CapBnd 0000000000000400
is NoNewPrivs 1
is Seccomp 2
ok hardened
greeting | grep -q '^220 mail.corp.test ' || fail "no greeting"
postern status >/dev/null || fail "no status"
ok serving
echo hello | runuser -u nobody -- postern sendmail root || fail "a message of nobody"
postern queue list | grep -q admin@else.test || fail "the message of nobody: $(postern queue list)"
ok mail of programs
sed -i 's/^hostname = .*/hostname = "new.corp.test"/' /etc/postern/postern.toml
systemctl reload postern.service || fail "reload"
greeting | grep -q '^220 new.corp.test ' || fail "the old name after a reload"
sed -i 's/^hostname = .*/hostname = "wrong"/' /etc/postern/postern.toml
! systemctl reload postern.service 2>/dev/null || fail "a wrong configuration was taken"
greeting | grep -q '^220 new.corp.test ' || fail "no greeting after a reload that failed"
sed -i 's/^hostname = .*/hostname = "mail.corp.test"/' /etc/postern/postern.toml
systemctl reload postern.service || fail "reload of what was mended"
[ "$(property ActiveState)" = active ] || fail "not active after reloads"
ok reloaded
journalctl --no-pager -o verbose -u postern.service | grep -q 'PRIORITY=6' || fail "no priority in the journal"
journalctl --no-pager -o cat -u postern.service | grep -q '^msg=started ' || fail "lines in the journal"
ok logging

kill -KILL "$pid"
until_other MainPID "$pid"
ok started again after a kill
pid=$(property MainPID)
kill -STOP "$pid" # it makes no progress
until_other MainPID "$pid"
journalctl --no-pager -u postern.service | grep -q 'Watchdog timeout' || fail "it was not the watchdog"
ok started again by the watchdog
postern stop || fail "stop"
until_ ActiveState inactive
sleep 1
[ "$(property ActiveState)" = inactive ] || fail "started again after a stop"
ok stopped for good

systemctl start postern.socket || fail "the socket"
[ "$(property ActiveState)" = inactive ] || fail "the service is active"
greeting | grep -q '^220 ' || fail "no greeting by the socket"
[ "$(property ActiveState)" = active ] || fail "who greeted?"
systemctl restart postern.service || fail "restart"
greeting | grep -q '^220 ' || fail "no greeting after a restart"
ok served by the socket of systemd

pid=$(property MainPID)
dpkg -i /root/next.deb >/dev/null 2>&1
until_other MainPID "$pid"
postern status | grep -q '^postern v0.9.1' || fail "the server is not running after the upgrade"
ok upgraded
dpkg -r postern >/dev/null 2>&1
[ "$(property ActiveState)" = inactive ] || fail "it runs after its removal"
ok removed
