-- An extension of an old version in public
-- differs: extension hstore => hstore
CREATE EXTENSION hstore VERSION '1.4';
CREATE TABLE facts (id serial PRIMARY KEY, facts hstore);
INSERT INTO facts (facts) VALUES ('a=>1');
