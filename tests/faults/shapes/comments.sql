-- Comments on everything that can have one
CREATE SCHEMA extra;
CREATE TABLE extra.things (id serial PRIMARY KEY, n integer CONSTRAINT small CHECK (n < 9));
CREATE INDEX things_n ON extra.things (n);
CREATE VIEW extra.v AS SELECT n FROM extra.things;
CREATE FUNCTION extra.f(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE TYPE extra.mood AS ENUM ('good');
COMMENT ON SCHEMA extra IS E'it''s\nmore than one line \\ -- "quoted"';
COMMENT ON TABLE extra.things IS 'things';
COMMENT ON COLUMN extra.things.n IS 'a number';
COMMENT ON CONSTRAINT small ON extra.things IS 'why';
COMMENT ON INDEX extra.things_n IS 'fast';
COMMENT ON VIEW extra.v IS 'seen';
COMMENT ON COLUMN extra.v.n IS 'the number';
COMMENT ON FUNCTION extra.f(integer) IS 'one';
COMMENT ON TYPE extra.mood IS 'of people';
COMMENT ON SEQUENCE extra.things_id_seq IS 'counts';
COMMENT ON SCHEMA public IS 'ours';
