-- The migration drops a column in the middle and adds it again with a default
CREATE TABLE accounts (id integer PRIMARY KEY, balance integer NOT NULL DEFAULT 0);
INSERT INTO accounts SELECT g, g * 100 FROM generate_series(1, 3) AS g;
-- part: migration
ALTER TABLE accounts DROP COLUMN balance;
ALTER TABLE accounts ADD COLUMN balance integer NOT NULL DEFAULT 0;
