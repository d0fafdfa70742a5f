-- A schema for each of 300 tenants
SELECT format('CREATE SCHEMA tenant_%s CREATE TABLE things (id serial PRIMARY KEY, n integer)', n) FROM generate_series(1, 300) AS n \gexec
SELECT format('INSERT INTO tenant_%s.things (n) VALUES (%s)', n, n) FROM generate_series(1, 300) AS n \gexec
