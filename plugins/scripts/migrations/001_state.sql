-- What plugin blocks of scripts keep between runs (`persist: true`).
CREATE TABLE scripts__state (
    owner TEXT NOT NULL,
    script TEXT NOT NULL,
    plugin TEXT NOT NULL,
    value TEXT NOT NULL,
    updated_at REAL NOT NULL,
    PRIMARY KEY (owner, script, plugin)
) WITHOUT ROWID;
