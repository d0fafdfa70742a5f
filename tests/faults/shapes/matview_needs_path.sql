-- A materialized view whose function needs a search path
-- refused: not-restorable
-- names: totals
CREATE TABLE things (n integer);
INSERT INTO things VALUES (1), (2);
CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT sum(n) FROM things); END $$;
CREATE MATERIALIZED VIEW totals AS SELECT total() AS total;
