-- A publication with row filters and column lists
CREATE TABLE sales (id integer PRIMARY KEY, region text NOT NULL, total integer);
ALTER TABLE sales REPLICA IDENTITY FULL;
INSERT INTO sales VALUES (1, 'us', 5);
CREATE PUBLICATION warehouse FOR TABLE sales (id, region) WHERE (region = 'us'), orders WITH (publish = 'insert');
