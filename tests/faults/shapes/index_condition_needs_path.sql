-- A partial index whose condition needs a search path
-- refused: not-restorable
-- names: article_known
CREATE TABLE topics (name text PRIMARY KEY);
INSERT INTO topics VALUES ('x');
CREATE FUNCTION known(v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN EXISTS (SELECT FROM topics WHERE name = v); END $$;
CREATE TABLE article (id integer, title text);
CREATE UNIQUE INDEX article_known ON article (id) WHERE known(title);
INSERT INTO article VALUES (1, 'x'), (1, 'y');
