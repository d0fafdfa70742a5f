-- The migration swaps the names of two tables of one shape
CREATE TABLE live (id integer PRIMARY KEY, n integer);
CREATE TABLE archive (id integer PRIMARY KEY, n integer);
INSERT INTO live VALUES (1, 1);
INSERT INTO archive VALUES (2, 2);
-- part: migration
ALTER TABLE live RENAME TO tmp;
ALTER TABLE archive RENAME TO live;
ALTER TABLE tmp RENAME TO archive;
