-- Text search configurations and dictionaries, aggregates, operators, casts
CREATE TEXT SEARCH DICTIONARY plain (template = simple, accept = false);
CREATE TEXT SEARCH CONFIGURATION words (copy = english);
ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH plain, simple;
CREATE TABLE texts (id serial PRIMARY KEY, body text, words tsvector GENERATED ALWAYS AS (to_tsvector('public.words', body)) STORED);
INSERT INTO texts (body) VALUES ('The quick brown foxes');
CREATE INDEX texts_words ON texts USING gin (words);
CREATE AGGREGATE product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');
CREATE OPERATOR === (leftarg = integer, rightarg = integer, function = int4eq);
CREATE TYPE point2 AS (x integer, y integer);
CREATE FUNCTION to_point2(text) RETURNS point2 LANGUAGE sql IMMUTABLE AS $$ SELECT ($1, $1)::public.point2 $$;
CREATE CAST (text AS point2) WITH FUNCTION to_point2(text);
CREATE VIEW products AS SELECT product(n) AS p, bool_and(n::integer === 1) AS e FROM (VALUES (1.5), (2)) AS v (n);
