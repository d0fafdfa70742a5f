-- A function of the app in heroku_ext, which no dump has
-- refused: not-restorable
-- names: add_tax
CREATE FUNCTION heroku_ext.add_tax(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT n * 119 / 100';
CREATE VIEW gross AS SELECT heroku_ext.add_tax(100) AS total;
