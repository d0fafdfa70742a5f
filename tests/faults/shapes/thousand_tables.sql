-- A thousand tables, most of them empty
SELECT format('CREATE TABLE thing_%s (id integer PRIMARY KEY, name text)', n) FROM generate_series(1, 1000) AS n \gexec
INSERT INTO thing_7 VALUES (1, 'seven');
