-- The replica identity and a column's statistics target, which are all that the migration changes
CREATE TABLE things (id integer PRIMARY KEY, n integer NOT NULL);
INSERT INTO things SELECT g, g FROM generate_series(1, 50) AS g;
-- part: migration
ALTER TABLE things REPLICA IDENTITY FULL;
ALTER TABLE things ALTER COLUMN n SET STATISTICS 500;
