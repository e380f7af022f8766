package directory

import (
	"context"
	"database/sql"
	"fmt"
)

// schema are the steps from an empty database to today's; a step, once released, never
// changes. Times are milliseconds since 1970, 0 for none; texts that are several are one
// a line.
var schema = [][]string{{
	`CREATE TABLE users (
		login {text} NOT NULL PRIMARY KEY,
		password {text} NOT NULL,
		scram {text} NOT NULL,
		enabled INTEGER NOT NULL,
		submit INTEGER NOT NULL,
		relay INTEGER NOT NULL,
		pop INTEGER NOT NULL,
		expires BIGINT NOT NULL,
		addresses {text} NOT NULL,
		delegates {text} NOT NULL,
		messages_per_hour BIGINT NOT NULL,
		recipients_per_day BIGINT NOT NULL,
		max_size BIGINT NOT NULL,
		language {text} NOT NULL,
		member_of {text} NOT NULL,
		networks {text} NOT NULL,
		certificates {text} NOT NULL,
		note {text} NOT NULL,
		created BIGINT NOT NULL,
		changed BIGINT NOT NULL,
		last_used BIGINT NOT NULL,
		failed_logins BIGINT NOT NULL
	) {rowless}`,
	`CREATE TABLE domains (
		name {text} NOT NULL PRIMARY KEY,
		alias_of {text} NOT NULL
	) {rowless}`,
	`CREATE TABLE aliases (
		domain {text} NOT NULL REFERENCES domains (name) DEFERRABLE INITIALLY DEFERRED,
		address {text} NOT NULL,
		owner {text} NOT NULL,
		targets {text} NOT NULL,
		PRIMARY KEY (domain, address, owner)
	) {rowless}`,
	`CREATE INDEX aliases_by_owner ON aliases (owner) WHERE owner <> ''`,
	`CREATE TABLE lists (
		name {text} NOT NULL PRIMARY KEY,
		kind {text} NOT NULL,
		address {text} NOT NULL,
		owner {text} NOT NULL,
		posters {text} NOT NULL
	) {rowless}`,
	`CREATE TABLE list_entries (
		list {text} NOT NULL REFERENCES lists (name) ON DELETE CASCADE,
		entry {text} NOT NULL,
		PRIMARY KEY (list, entry)
	) {rowless}`,
	`CREATE TABLE bans (
		subject {text} NOT NULL PRIMARY KEY,
		since BIGINT NOT NULL,
		until BIGINT NOT NULL,
		reason {text} NOT NULL,
		times BIGINT NOT NULL
	) {rowless}`,
	`CREATE TABLE outbox (
		n BIGINT NOT NULL PRIMARY KEY,
		fact {text} NOT NULL
	) {rowless}`,
	`CREATE TABLE forgotten (n BIGINT NOT NULL)`,
	`INSERT INTO forgotten (n) VALUES (0)`,
}, {
	`CREATE TABLE senders (
		source {text} NOT NULL PRIMARY KEY,
		first_seen BIGINT NOT NULL,
		last_seen BIGINT NOT NULL,
		messages BIGINT NOT NULL,
		recipients BIGINT NOT NULL,
		octets BIGINT NOT NULL,
		details {text} NOT NULL,
		owner {text} NOT NULL,
		note {text} NOT NULL
	) {rowless}`,
}, {
	`ALTER TABLE users ADD COLUMN route {text} NOT NULL DEFAULT ''`,
	`ALTER TABLE users ADD COLUMN class {text} NOT NULL DEFAULT ''`,
	`CREATE TABLE credentials (
		name {text} NOT NULL PRIMARY KEY,
		kind {text} NOT NULL,
		account {text} NOT NULL,
		hosts {text} NOT NULL,
		mechanisms {text} NOT NULL,
		unverified INTEGER NOT NULL,
		preset {text} NOT NULL,
		token_url {text} NOT NULL,
		client_id {text} NOT NULL,
		scopes {text} NOT NULL,
		certificate {text} NOT NULL,
		key_id {text} NOT NULL,
		password {text} NOT NULL,
		client_secret {text} NOT NULL,
		client_key {text} NOT NULL,
		refresh_token {text} NOT NULL,
		note {text} NOT NULL,
		created BIGINT NOT NULL,
		changed BIGINT NOT NULL
	) {rowless}`,
}}

// migrate brings a database to today's schema, in one transaction.
func migrate(ctx context.Context, db *sql.DB, s dialect) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)`); err != nil {
		return err
	}
	version := 0
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`).Scan(&version); err != nil {
		return err
	}
	if version > len(schema) {
		return fmt.Errorf("%w: its schema is %d, this release knows %d", ErrNewer, version, len(schema))
	}
	for ; version < len(schema); version++ {
		for _, statement := range schema[version] {
			if _, err := tx.ExecContext(ctx, s.sql(statement)); err != nil {
				return fmt.Errorf("schema %d: %w", version+1, err)
			}
		}
		if _, err := tx.ExecContext(ctx, s.sql(`INSERT INTO schema_version (version) VALUES (?)`), version+1); err != nil {
			return err
		}
	}
	return tx.Commit()
}
