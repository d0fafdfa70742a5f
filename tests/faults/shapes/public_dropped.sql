-- An app that has dropped the schema public
-- bare
-- differs: (ACL -\.)?SCHEMA (-\.)?public => public
CREATE SCHEMA shop;
CREATE TABLE shop.things (id integer PRIMARY KEY);
INSERT INTO shop.things VALUES (1);
DROP SCHEMA public;
-- part: migration
ALTER TABLE shop.things ADD COLUMN note text;
UPDATE shop.things SET note = 'x';
