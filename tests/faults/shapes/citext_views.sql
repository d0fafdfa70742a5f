-- Views over citext with USING, CASE, NULLIF, IS DISTINCT FROM
-- refused: not-restorable
-- names: seen
CREATE EXTENSION citext SCHEMA public;
CREATE TABLE users (id integer PRIMARY KEY, email citext);
INSERT INTO users VALUES (1, 'Ann@x.org');
CREATE TABLE logins (email citext, n integer);
INSERT INTO logins VALUES ('ann@X.org', 7);
CREATE VIEW seen AS SELECT id, email, n FROM users JOIN logins USING (email);
CREATE VIEW roles AS SELECT CASE email WHEN 'ANN@x.org' THEN 'staff' ELSE 'guest' END AS role FROM users;
CREATE VIEW named AS SELECT nullif(email, 'ANN@X.ORG') AS email FROM users;
CREATE VIEW moved AS SELECT u.email IS DISTINCT FROM l.email AS moved FROM users u, logins l;
