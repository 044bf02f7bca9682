-- Who may write: each start takes the next epoch, and every insert names the epoch that it belongs to.
CREATE TABLE writer (epoch INTEGER NOT NULL) STRICT;
INSERT INTO writer VALUES (0);
