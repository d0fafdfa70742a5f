-- citext where names are looked up by type: nothing is lost here
CREATE EXTENSION citext SCHEMA public;
CREATE TABLE users (id integer PRIMARY KEY, email citext UNIQUE CHECK (email <> 'NOBODY'));
INSERT INTO users VALUES (1, 'Ann@x.org');
CREATE VIEW anns AS SELECT id FROM users WHERE email = 'ANN@X.ORG' AND email IN ('ann@x.org', 'bob@x.org');
CREATE INDEX users_bob ON users (id) WHERE email <> 'bob';
