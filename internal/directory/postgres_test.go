package directory

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"
)

// postgresURL is the variable with the URL of a PostgreSQL server for the directories of a
// test; SQLite keeps them if it is not set.
const postgresURL = "POSTERN_DIRECTORY_POSTGRES"

// postgres is PostgreSQL, with the database at a URL. That all else is the same for it is
// what is tested; it is here as long as no setting leads to it.
func postgres(url string) dialect {
	return dialect{
		open: func(readOnly bool) (*sql.DB, error) {
			if readOnly { // as SQLite has it, a transaction reads what there was at its start
				return sql.Open("pgx", url+"&default_transaction_read_only=on&default_transaction_isolation=repeatable%20read")
			}
			return sql.Open("pgx", url)
		},
		text: `TEXT COLLATE "C"`, numbered: true, explain: explainPostgres,
	}
}

func explainPostgres(err error) error {
	failed, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch failed.Code {
	case "XX001", "XX002": // data_corrupted, index_corrupted
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	case "53100": // disk_full
		return storageFull.Because(err)
	}
	return err
}

// All that is done with records is the same when PostgreSQL keeps them.
func TestPostgreSQL(t *testing.T) {
	t.Setenv(postgresURL, startPostgres(t))
	for name, test := range map[string]func(*testing.T){
		"RecordsStay": TestRecordsStay, "Remove": TestRemove, "ChangeIsWhole": TestChangeIsWhole,
		"Facts": TestFacts, "FactNumbers": TestFactNumbers, "Closed": TestClosed,
		"InvalidRecords": TestInvalidRecords, "Consistency": TestConsistency, "PolicyList": TestPolicyList,
		"Resolve": TestResolve, "KnownWithoutPassword": TestKnownWithoutPassword, "Bans": TestBans, "Senders": TestSenders, "SendersInOlderSchema": TestSendersInOlderSchema,
		"ExportImport": TestExportImport, "ImportKeeps": TestImportKeeps, "ImportReplaces": TestImportReplaces,
		"ImportProblems": TestImportProblems, "Snapshots": TestReadIsOneTime,
		"CredentialsStay": TestCredentialsStay, "CredentialFor": TestCredentialFor, "Reseal": TestReseal,
	} {
		t.Run(name, test)
	}
}

// startPostgres starts a server of the test's own, on a socket in a directory of its own,
// and returns its URL.
func startPostgres(t *testing.T) string {
	bin := postgresPrograms(t)
	dir, err := os.MkdirTemp("", "postern-pg") // others than root must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := postgresUser(t, dir)
	data := filepath.Join(dir, "data")
	run := func(program string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bin, program), args...)
		c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
		c.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
		return c
	}
	if out, err := run("initdb", "-D", data, "-A", "trust", "-U", "postern", "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	server := run("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=8MB")
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGINT) // fast shutdown
		server.Wait()
	})
	url := "postgres:///postgres?user=postern&host=" + dir
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for db.PingContext(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatalf("PostgreSQL does not start: %s", log.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
	return url
}

// postgresPrograms returns where the programs of PostgreSQL are, which Debian has not in
// the path.
func postgresPrograms(t *testing.T) string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		const why = "PostgreSQL is not installed; test/install brings it"
		if os.Getenv("POSTERN_REQUIRE_PEERS") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return filepath.Dir(found[len(found)-1])
}

// postgresUser returns who runs the server, who owns dir then: not root, which it refuses.
func postgresUser(t *testing.T, dir string) *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// inSchema makes an empty schema for the directory of a test, and returns the URL of it.
func inSchema(t *testing.T, url string) string {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("d%d", time.Now().UnixNano())
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return url + "&search_path=" + name
}
