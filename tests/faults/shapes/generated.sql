-- Generated columns over each other's tables, collations, expressions in indexes
CREATE COLLATION plain FROM "C";
CREATE TABLE things (a integer, b text COLLATE plain, c integer GENERATED ALWAYS AS (a * 2) STORED,
    d text GENERATED ALWAYS AS (upper(b) || coalesce(b, '')) STORED);
INSERT INTO things (a, b) VALUES (1, 'x'), (2, NULL);
CREATE INDEX things_d ON things (d COLLATE "POSIX" DESC NULLS LAST, (a + 1));
CREATE STATISTICS together (ndistinct, dependencies) ON a, b FROM things;
