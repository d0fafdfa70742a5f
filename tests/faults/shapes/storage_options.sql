-- Options of tables, columns and indexes: statistics, fill factors, clustering, replica identity, compression
CREATE TABLE things (id integer PRIMARY KEY, n integer NOT NULL, body text) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
INSERT INTO things SELECT g, g, g FROM generate_series(1, 50) AS g;
CREATE UNIQUE INDEX things_n ON things (n) WITH (fillfactor = 60);
ALTER TABLE things CLUSTER ON things_n, REPLICA IDENTITY USING INDEX things_n;
ALTER TABLE things ALTER COLUMN n SET STATISTICS 500, ALTER COLUMN n SET (n_distinct = -0.5), ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX things_expression ON things ((n + 1), lower(body));
ALTER INDEX things_expression ALTER COLUMN 1 SET STATISTICS 100;
