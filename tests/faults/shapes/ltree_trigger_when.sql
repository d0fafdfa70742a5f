-- A trigger's WHEN with IS DISTINCT FROM on ltree
-- refused: not-restorable
-- names: path_moved
CREATE EXTENSION ltree SCHEMA public;
CREATE TABLE region (id integer PRIMARY KEY, path ltree);
INSERT INTO region VALUES (1, 'a.b');
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER path_moved BEFORE UPDATE ON region FOR EACH ROW WHEN (OLD.path IS DISTINCT FROM NEW.path) EXECUTE FUNCTION note();
