-- Functions of every kind: overloaded, variadic, of tables, atomic bodies that lean on tables, definers, procedures
CREATE TABLE things (id serial PRIMARY KEY, n integer);
INSERT INTO things (n) VALUES (1), (2);
CREATE FUNCTION f(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION f(text, VARIADIC integer[]) RETURNS integer LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION counted(OUT a bigint, OUT b bigint) LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*), sum(n) FROM things; END;
CREATE FUNCTION listed(minimum integer DEFAULT 1 + 1) RETURNS TABLE (id integer, n integer) LANGUAGE sql AS 'SELECT id, n FROM public.things WHERE n >= minimum';
CREATE FUNCTION trusted() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET work_mem = '5MB' AS $$ BEGIN RETURN current_user; END $$;
CREATE PROCEDURE forget(INOUT n integer) LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
CREATE VIEW counts AS SELECT * FROM counted();
