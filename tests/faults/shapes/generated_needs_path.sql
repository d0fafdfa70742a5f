-- A generated column with an extension's function, without its schema
-- refused: not-restorable
-- names: article
CREATE EXTENSION unaccent SCHEMA public;
CREATE FUNCTION slug(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN lower(unaccent(v)); END $$;
CREATE TABLE article (title text, slug text GENERATED ALWAYS AS (slug(title)) STORED);
INSERT INTO article VALUES ('x'), ('y');
