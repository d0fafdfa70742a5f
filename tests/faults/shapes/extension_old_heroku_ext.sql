-- An extension of an old version in heroku_ext
-- differs: extension pg_trgm => pg_trgm
CREATE EXTENSION pg_trgm SCHEMA heroku_ext VERSION '1.4';
CREATE TABLE people (id serial PRIMARY KEY, name text);
CREATE INDEX people_name ON people USING gin (name heroku_ext.gin_trgm_ops);
INSERT INTO people (name) VALUES ('Ann');
