-- A CHECK that reads another table, which is loaded later
-- refused: not-restorable
-- names: author
CREATE TABLE zebra (word text PRIMARY KEY);
INSERT INTO zebra VALUES ('a');
CREATE FUNCTION known_word(w text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT EXISTS (SELECT FROM public.zebra WHERE word = w) $$;
CREATE TABLE author (id integer, word text CHECK (public.known_word(word)));
INSERT INTO author VALUES (1, 'a');
