-- The migration drops a column and adds it again, empty
CREATE TABLE users (id integer PRIMARY KEY, phone text);
INSERT INTO users SELECT g, '555-' || g FROM generate_series(1, 300) AS g;
-- part: migration
ALTER TABLE users DROP COLUMN phone;
ALTER TABLE users ADD COLUMN phone text;
