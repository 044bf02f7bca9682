-- What a start may take up instead of folding every row: the state of everything behind one row.
CREATE TABLE snapshot (
  position INTEGER PRIMARY KEY,  -- of the last row that it stands for
  hash     BLOB    NOT NULL,     -- of that row
  code     TEXT    NOT NULL,     -- of the rules that it was folded by
  parts    INTEGER NOT NULL,
  digest   BLOB    NOT NULL      -- over its parts, keyed by the hash
) STRICT;

CREATE TABLE snapshot_part (
  position INTEGER NOT NULL,
  part     INTEGER NOT NULL,     -- 0, 1, 2, …
  section  TEXT    NOT NULL,
  data     BLOB    NOT NULL,     -- lines of JSON, deflated
  PRIMARY KEY (position, part)
) STRICT;

-- The log begins behind this position: the rows up to it are pruned, the snapshot there stands for them.
CREATE TABLE floor (position INTEGER NOT NULL) STRICT;
INSERT INTO floor VALUES (0);
