-- A materialized view with rows that are no longer so
-- differs: rows of materialized view public\.totals => totals
CREATE TABLE things (n integer);
INSERT INTO things VALUES (1), (2);
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM things;
INSERT INTO things VALUES (3);
