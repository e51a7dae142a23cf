CREATE TABLE identity__accounts (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    shown TEXT NOT NULL,
    email TEXT,
    password TEXT,
    must_change INTEGER NOT NULL DEFAULT 0,
    roles TEXT NOT NULL,
    active INTEGER NOT NULL DEFAULT 1,
    version INTEGER NOT NULL DEFAULT 1,
    created_at REAL NOT NULL,
    last_login REAL,
    removed_at REAL
) WITHOUT ROWID;

CREATE UNIQUE INDEX identity__by_email ON identity__accounts (email) WHERE email IS NOT NULL;

CREATE TABLE identity__sessions (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    created_at REAL NOT NULL,
    used_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    ended TEXT
) WITHOUT ROWID;

CREATE INDEX identity__by_account ON identity__sessions (account, used_at);
CREATE INDEX identity__by_expiry ON identity__sessions (expires_at);
CREATE INDEX identity__by_end ON identity__sessions (ended, used_at) WHERE ended IS NOT NULL;

CREATE TABLE identity__refreshes (
    hash BLOB PRIMARY KEY,
    session TEXT NOT NULL,
    spent_at REAL
) WITHOUT ROWID;

CREATE INDEX identity__by_session ON identity__refreshes (session, spent_at);

CREATE TABLE identity__tokens (
    name TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    account TEXT,
    scopes TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    used_at REAL,
    revoked_at REAL
) WITHOUT ROWID;
