-- Columns dropped, tables with no columns, and with dropped ones only
CREATE TABLE holes (a integer, b text, c integer, d text);
INSERT INTO holes VALUES (1, 'b', 3, 'd');
ALTER TABLE holes DROP COLUMN b, DROP COLUMN c;
ALTER TABLE holes ADD COLUMN e integer DEFAULT 5;
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE once (a integer);
INSERT INTO once VALUES (1), (2);
ALTER TABLE once DROP COLUMN a;
