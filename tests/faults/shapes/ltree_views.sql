-- A view over ltree with CASE and IS DISTINCT FROM, in a schema of its own
-- refused: not-restorable
-- names: kinds
CREATE SCHEMA trees;
CREATE EXTENSION ltree SCHEMA trees;
CREATE TABLE regions (id integer PRIMARY KEY, path trees.ltree);
INSERT INTO regions VALUES (1, 'a.b'), (2, 'a.c');
SET search_path = public, trees;
CREATE VIEW kinds AS SELECT id, CASE path WHEN 'a.b'::trees.ltree THEN 'b' ELSE 'other' END AS kind FROM regions;
