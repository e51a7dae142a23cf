CREATE TABLE executions__executions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    caller TEXT NOT NULL,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    input TEXT NOT NULL,
    result TEXT,
    error TEXT,
    priority INTEGER NOT NULL,
    parent TEXT,
    trace TEXT NOT NULL,
    deadline_s REAL,
    attempt INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    started_at REAL,
    completed_at REAL,
    cancel_requested_at REAL
);

CREATE INDEX executions__by_state ON executions__executions (state, priority DESC, seq);
CREATE INDEX executions__by_owner ON executions__executions (owner, seq);
CREATE INDEX executions__by_end ON executions__executions (completed_at) WHERE completed_at IS NOT NULL;

CREATE TABLE executions__history (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    execution TEXT NOT NULL,
    at REAL NOT NULL,
    topic TEXT NOT NULL,
    data TEXT NOT NULL
);

CREATE INDEX executions__history_of ON executions__history (execution, seq);

CREATE TABLE executions__idempotency (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    execution TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (principal, key)
) WITHOUT ROWID;

CREATE INDEX executions__idempotency_by_age ON executions__idempotency (at);
