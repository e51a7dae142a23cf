-- A row is due at times (`schedule` is set), or keeps a script resident (kind `resident`); what that script registers are
-- rows of their own, which name it in `resident`. Times are seconds since 1970.
CREATE TABLE schedules__schedules (
    seq             INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL UNIQUE,
    owner           TEXT    NOT NULL,
    caller          TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    resident        TEXT,
    script          TEXT    NOT NULL,
    entry           TEXT,
    parameters      TEXT    NOT NULL,
    written         TEXT,
    schedule        TEXT,
    every           REAL,
    tz              TEXT    NOT NULL,
    enabled         INTEGER NOT NULL,
    reason          TEXT,
    hash            TEXT,
    registers       TEXT,
    created_at      REAL    NOT NULL,
    next_due        REAL,
    last_due        REAL,
    last_started_at REAL,
    last_job        TEXT,
    runs            INTEGER NOT NULL DEFAULT 0,
    skipped         INTEGER NOT NULL DEFAULT 0,
    skip_reason     TEXT,
    missed          INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    failure         TEXT,
    key             TEXT,
    digest          TEXT
);

CREATE INDEX schedules__by_owner ON schedules__schedules (owner, seq);
CREATE INDEX schedules__by_resident ON schedules__schedules (resident) WHERE resident IS NOT NULL;
CREATE INDEX schedules__by_script ON schedules__schedules (script) WHERE kind = 'resident';
CREATE INDEX schedules__by_key ON schedules__schedules (owner, key) WHERE key IS NOT NULL;

-- What the clockwork looks at.
CREATE INDEX schedules__by_due ON schedules__schedules (next_due) WHERE enabled = 1 AND next_due IS NOT NULL;

-- When an interval of `time.interval` last began, for each user and place.
CREATE TABLE schedules__intervals (
    owner TEXT NOT NULL,
    place TEXT NOT NULL,
    at    REAL NOT NULL,
    PRIMARY KEY (owner, place)
) WITHOUT ROWID;
CREATE INDEX schedules__intervals_by_age ON schedules__intervals (owner, at);
