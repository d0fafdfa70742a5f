-- Unlogged tables with rows
CREATE UNLOGGED TABLE cache (id serial PRIMARY KEY, n integer);
INSERT INTO cache (n) SELECT generate_series(1, 100);
CREATE INDEX cache_n ON cache (n);
