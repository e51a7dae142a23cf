-- One row for each entry. What every entry has stands in columns, everything else in the document.
CREATE TABLE memory__records (
    seq        INTEGER PRIMARY KEY,
    owner      TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    collection TEXT,
    created_at REAL    NOT NULL,
    updated_at REAL    NOT NULL,
    archived   INTEGER NOT NULL DEFAULT 0,
    document   TEXT    NOT NULL
);

-- An id is unique for its owner only, so nobody can learn from a clash that somebody else has it.
CREATE UNIQUE INDEX memory__records_by_id ON memory__records (owner, id);
CREATE INDEX memory__records_by_age ON memory__records (owner, created_at, seq);
CREATE INDEX memory__records_by_collection ON memory__records (owner, collection, created_at, seq)
    WHERE collection IS NOT NULL;

CREATE TABLE memory__tags (
    owner      TEXT    NOT NULL,
    tag        TEXT    NOT NULL,
    created_at REAL    NOT NULL,
    seq        INTEGER NOT NULL,
    PRIMARY KEY (owner, tag, created_at, seq)
) WITHOUT ROWID;
CREATE INDEX memory__tags_by_record ON memory__tags (seq);

-- Fields whose name ends like a criterion's suffix (`score_gte`): rare, and a search must know of them.
CREATE TABLE memory__suffixed (
    owner TEXT    NOT NULL,
    field TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (owner, field, seq)
) WITHOUT ROWID;
CREATE INDEX memory__suffixed_by_record ON memory__suffixed (seq);

CREATE TABLE memory__owners (
    owner   TEXT    NOT NULL PRIMARY KEY,
    records INTEGER NOT NULL DEFAULT 0,
    goals   INTEGER NOT NULL DEFAULT 0,
    keys    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE VIRTUAL TABLE memory__fts USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2');

-- Answers to creates that came with an Idempotency-Key.
CREATE TABLE memory__answers (
    owner  TEXT NOT NULL,
    key    TEXT NOT NULL,
    digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    at     REAL NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE INDEX memory__answers_by_age ON memory__answers (owner, at);
