-- A domain whose CHECK needs a search path
-- refused: not-restorable
-- names: slug
CREATE EXTENSION unaccent SCHEMA public;
CREATE FUNCTION is_plain(v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN v = unaccent(v); END $$;
CREATE DOMAIN slug AS text CHECK (is_plain(VALUE));
CREATE TABLE article (id integer, slug slug);
INSERT INTO article VALUES (1, 'a');
