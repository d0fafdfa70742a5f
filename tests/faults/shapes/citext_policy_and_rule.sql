-- A policy and a rule that compare citext by IS DISTINCT FROM
-- refused: not-restorable
CREATE EXTENSION citext SCHEMA public;
CREATE TABLE letters (id integer PRIMARY KEY, sender citext, log text);
INSERT INTO letters VALUES (1, 'Ann', '');
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY no_spam ON letters USING (sender IS DISTINCT FROM 'SPAM'::citext);
CREATE RULE quiet AS ON UPDATE TO letters WHERE NEW.sender IS NOT DISTINCT FROM 'SPAM'::citext DO INSTEAD NOTHING;
