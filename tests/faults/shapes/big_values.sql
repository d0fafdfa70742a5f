-- Values that are kept out of line, compressed and not
CREATE TABLE files (id integer PRIMARY KEY, body text, raw bytea);
ALTER TABLE files ALTER COLUMN raw SET STORAGE EXTERNAL;
ALTER TABLE files ALTER COLUMN body SET COMPRESSION pglz;
INSERT INTO files SELECT g, (SELECT string_agg(md5((g * n)::text), '') FROM generate_series(1, 4000) AS n), decode(repeat('00ff', 50000), 'hex') FROM generate_series(1, 4) AS g;
