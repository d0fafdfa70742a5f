-- Tables that are empty: never used, truncated, a queue that was drained, rows that are all dead
CREATE TABLE never (n integer);
CREATE TABLE truncated (n integer);
INSERT INTO truncated SELECT generate_series(1, 1000);
TRUNCATE truncated;
CREATE TABLE queue (id serial PRIMARY KEY, n integer) WITH (autovacuum_enabled = false);
INSERT INTO queue (n) SELECT generate_series(1, 2000);
DELETE FROM queue;
CREATE TABLE aborted (n integer) WITH (autovacuum_enabled = false);
BEGIN;
INSERT INTO aborted SELECT generate_series(1, 2000);
ROLLBACK;
CREATE TABLE last_one (n integer) WITH (autovacuum_enabled = false);
INSERT INTO last_one SELECT generate_series(1, 2000);
DELETE FROM last_one WHERE n < 2000;
