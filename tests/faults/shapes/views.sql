-- Views on views, updatable, recursive, with options, whose columns have defaults and other names
CREATE TABLE things (id serial PRIMARY KEY, n integer, kind varchar(9) DEFAULT 'a');
INSERT INTO things (n) VALUES (1), (2), (3);
CREATE VIEW base AS SELECT * FROM things;
ALTER TABLE things ADD COLUMN late text;
CREATE VIEW few WITH (security_barrier = true) AS SELECT id, n FROM base WHERE n BETWEEN 1 AND 2 AND kind IN ('a', 'b') WITH CASCADED CHECK OPTION;
ALTER VIEW few ALTER COLUMN n SET DEFAULT 7;
ALTER VIEW base RENAME COLUMN kind TO sort;
CREATE VIEW invoked WITH (security_invoker = true) AS SELECT f.n, b.sort FROM few f JOIN base b USING (id);
CREATE VIEW up AS WITH RECURSIVE up (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM up WHERE n < 3) SELECT n FROM up;
CREATE VIEW whole_row AS SELECT t, t.n FROM things t;
