-- Extensions in heroku_ext, and what leans on them
CREATE EXTENSION hstore SCHEMA heroku_ext;
CREATE EXTENSION pg_trgm SCHEMA heroku_ext;
CREATE EXTENSION pgcrypto SCHEMA heroku_ext;
CREATE TABLE people (id serial PRIMARY KEY, name text, facts hstore, secret text DEFAULT encode(heroku_ext.digest('x', 'sha1'), 'hex'));
CREATE INDEX people_name ON people USING gin (name gin_trgm_ops);
INSERT INTO people (name, facts) VALUES ('Ann', 'a=>1'), ('Bob', NULL);
