-- Materialized views on each other, against the order of their names
CREATE TABLE things (n integer);
INSERT INTO things VALUES (1), (2);
CREATE MATERIALIZED VIEW z AS SELECT n FROM things;
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM z;
CREATE VIEW k AS SELECT n FROM m;
CREATE MATERIALIZED VIEW a AS SELECT k.n + z.n AS n FROM k, z;
CREATE MATERIALIZED VIEW b AS SELECT * FROM a WITH NO DATA;
