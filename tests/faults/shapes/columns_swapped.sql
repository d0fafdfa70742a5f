-- The migration swaps the names of two columns of one type
CREATE TABLE prices (id integer PRIMARY KEY, net integer, gross integer);
INSERT INTO prices SELECT g, g * 100, g * 119 FROM generate_series(1, 3) AS g;
-- part: migration
ALTER TABLE prices RENAME net TO tmp;
ALTER TABLE prices RENAME gross TO net;
ALTER TABLE prices RENAME tmp TO gross;
