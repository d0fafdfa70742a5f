-- An index over an expression that needs a search path
-- refused: not-restorable
-- names: article_plain
CREATE EXTENSION unaccent SCHEMA public;
CREATE FUNCTION plain(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN lower(unaccent(v)); END $$;
CREATE TABLE article (id integer, title text);
CREATE INDEX article_plain ON article (plain(title));
INSERT INTO article VALUES (1, 'x'), (2, 'y');
