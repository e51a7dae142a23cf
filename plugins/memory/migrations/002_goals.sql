CREATE TABLE memory__goals (
    seq          INTEGER PRIMARY KEY,
    owner        TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    priority     TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    progress     REAL    NOT NULL DEFAULT 0,
    deadline     REAL,
    overdue_at   REAL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    created_at   REAL    NOT NULL,
    updated_at   REAL    NOT NULL,
    completed_at REAL,
    document     TEXT    NOT NULL
);

CREATE UNIQUE INDEX memory__goals_by_id ON memory__goals (owner, id);
CREATE INDEX memory__goals_by_status ON memory__goals (owner, status, created_at, seq);
CREATE INDEX memory__goals_by_title ON memory__goals (owner, title);

-- What the watch over deadlines still has to look at.
CREATE INDEX memory__goals_due ON memory__goals (deadline)
    WHERE deadline IS NOT NULL AND overdue_at IS NULL AND status IN ('active', 'paused', 'blocked');
