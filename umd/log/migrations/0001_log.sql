-- The log. Positions are assigned by the writer: 1, 2, 3, … in commit order, without gaps.
CREATE TABLE log (
  position       INTEGER PRIMARY KEY,
  stream         TEXT    NOT NULL,  -- what the row belongs to: 'job-01j5…'
  version        INTEGER NOT NULL,  -- 1, 2, 3, … in its stream
  kind           TEXT    NOT NULL CHECK (kind IN ('command', 'event')),
  type           TEXT    NOT NULL,  -- 'job.started'; equals the tag in the data, kept for SQL
  schema_version INTEGER NOT NULL,  -- of this type; lifted on reading
  at             INTEGER NOT NULL,  -- microseconds since 1970 UTC
  correlation    TEXT    NOT NULL,  -- the request or the boot that it all goes back to
  causation      INTEGER,           -- the position of the row that led to this one
  data           BLOB    NOT NULL,  -- JSON
  hash           BLOB    NOT NULL,  -- over this row, keyed by the hash of the row before
  UNIQUE (stream, version)
) STRICT;

-- What was written is never changed. (Rows below the floor may go; they go from the front.)
CREATE TRIGGER log_is_append_only BEFORE UPDATE ON log
BEGIN
  SELECT RAISE(ABORT, 'rows of the log are never changed');
END;
