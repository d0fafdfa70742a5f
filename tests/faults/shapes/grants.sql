-- Grants to another credential on everything that can be granted, and rights the owner took from itself
CREATE SCHEMA extra;
CREATE TABLE extra.things (id serial PRIMARY KEY, name text, secret text);
INSERT INTO extra.things (name) VALUES ('a');
CREATE FUNCTION extra.f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE TYPE extra.mood AS ENUM ('good');
CREATE DOMAIN extra.positive AS integer CHECK (VALUE > 0);
CREATE VIEW extra.names AS SELECT name FROM extra.things;
GRANT USAGE ON SCHEMA extra TO :"other" WITH GRANT OPTION;
GRANT SELECT (id, name), UPDATE (name) ON extra.things TO :"other";
GRANT SELECT ON extra.names TO PUBLIC;
GRANT USAGE ON SEQUENCE extra.things_id_seq TO :"other";
REVOKE EXECUTE ON FUNCTION extra.f() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION extra.f() TO :"other";
REVOKE USAGE ON TYPE extra.mood FROM PUBLIC;
GRANT USAGE ON DOMAIN extra.positive TO :"other";
REVOKE DELETE, TRUNCATE ON extra.things FROM :"owner";
