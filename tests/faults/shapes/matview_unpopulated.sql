-- A materialized view that was never filled, and one that is up to date
CREATE TABLE things (n integer);
INSERT INTO things VALUES (1), (2);
CREATE MATERIALIZED VIEW never AS SELECT count(*) AS n FROM things WITH NO DATA;
CREATE MATERIALIZED VIEW fresh AS SELECT count(*) AS n FROM things;
CREATE UNIQUE INDEX fresh_n ON fresh (n);
