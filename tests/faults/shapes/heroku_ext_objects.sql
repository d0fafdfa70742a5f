-- A table of the app in heroku_ext, which no dump has
-- refused: not-restorable
-- names: invoices
CREATE TABLE heroku_ext.invoices (id integer PRIMARY KEY, total integer);
INSERT INTO heroku_ext.invoices SELECT g, g FROM generate_series(1, 5) AS g;
