-- An invalid index that a failed CREATE INDEX CONCURRENTLY has left
-- differs: .*things_n_broken => things_n_broken
CREATE TABLE things (id integer PRIMARY KEY, n integer);
INSERT INTO things VALUES (1, 1), (2, 1);
\set ON_ERROR_STOP off
\set VERBOSITY terse
CREATE UNIQUE INDEX CONCURRENTLY things_n_broken ON things (n);
\set ON_ERROR_STOP on
