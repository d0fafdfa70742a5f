-- A CHECK whose function names a table without its schema
-- refused: not-restorable
-- names: entry
CREATE TABLE dictionary (word text PRIMARY KEY);
INSERT INTO dictionary VALUES ('a');
CREATE FUNCTION known_word(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN EXISTS (SELECT FROM dictionary WHERE word = w); END $$;
CREATE TABLE entry (id integer, word text CHECK (known_word(word)));
INSERT INTO entry VALUES (1, 'a'), (2, 'a');
