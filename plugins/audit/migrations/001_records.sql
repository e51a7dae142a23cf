-- The record. A row is added after the last one and never changed; it goes only below a signed cut.
CREATE TABLE audit__records (
    seq INTEGER PRIMARY KEY,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    principal TEXT NOT NULL,
    capability TEXT NOT NULL,
    record TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit__by_action ON audit__records (action, seq);
CREATE INDEX audit__by_principal ON audit__records (principal, seq);

-- Signed heads: what the last record and its hash were at that time.
CREATE TABLE audit__heads (
    seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, at TEXT NOT NULL, key TEXT NOT NULL, signature TEXT NOT NULL
);

-- Signed cuts: through which record the oldest segments have left, and the hash that the first one kept goes on from.
CREATE TABLE audit__cuts (
    seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, at TEXT NOT NULL, key TEXT NOT NULL, signature TEXT NOT NULL
);

-- INSERT OR REPLACE deletes without asking the triggers of DELETE: the number must be the next one.
CREATE TRIGGER audit__records_in_order BEFORE INSERT ON audit__records
WHEN NEW.seq <> coalesce((SELECT max(seq) FROM audit__records), 0) + 1
BEGIN SELECT RAISE(ABORT, 'records of the audit are added one after the other'); END;

CREATE TRIGGER audit__records_stay_the_same BEFORE UPDATE ON audit__records
BEGIN SELECT RAISE(ABORT, 'records of the audit are never changed'); END;

CREATE TRIGGER audit__records_stay BEFORE DELETE ON audit__records
WHEN OLD.seq > coalesce((SELECT max(seq) FROM audit__cuts), 0)
BEGIN SELECT RAISE(ABORT, 'records of the audit are deleted only below a cut'); END;

CREATE TRIGGER audit__heads_in_order BEFORE INSERT ON audit__heads
WHEN NEW.seq <= coalesce((SELECT max(seq) FROM audit__heads), 0)
BEGIN SELECT RAISE(ABORT, 'heads of the audit are added one after the other'); END;

CREATE TRIGGER audit__heads_stay_the_same BEFORE UPDATE ON audit__heads
BEGIN SELECT RAISE(ABORT, 'heads of the audit are never changed'); END;

CREATE TRIGGER audit__heads_stay BEFORE DELETE ON audit__heads
WHEN OLD.seq > coalesce((SELECT max(seq) FROM audit__cuts), 0)
BEGIN SELECT RAISE(ABORT, 'heads of the audit are deleted only below a cut'); END;

-- A cut names a record that is there, and leaves at least a thousand after it.
CREATE TRIGGER audit__cuts_in_order BEFORE INSERT ON audit__cuts
WHEN NEW.seq <= coalesce((SELECT max(seq) FROM audit__cuts), 0)
    OR NEW.seq + 1000 > (SELECT max(seq) FROM audit__records)
    OR NEW.hash IS NOT (SELECT hash FROM audit__records WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a cut of the audit names an old record by its hash'); END;

CREATE TRIGGER audit__cuts_stay_the_same BEFORE UPDATE ON audit__cuts
BEGIN SELECT RAISE(ABORT, 'cuts of the audit are never changed'); END;

CREATE TRIGGER audit__cuts_stay BEFORE DELETE ON audit__cuts
WHEN OLD.seq = (SELECT max(seq) FROM audit__cuts)
BEGIN SELECT RAISE(ABORT, 'the last cut of the audit stays'); END;
