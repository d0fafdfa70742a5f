-- A materialized view whose function needs a search path
-- refused: not-restorable
-- names: totals
CREATE TABLE things (n integer);
INSERT INTO things VALUES (1), (2);
-- Since PostgreSQL 17 it cannot be filled like this; from before an upgrade, or before its function changed, it is.
CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT sum(n) FROM public.things); END $$;
CREATE MATERIALIZED VIEW totals AS SELECT total() AS total;
CREATE OR REPLACE FUNCTION total() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT sum(n) FROM things); END $$;
