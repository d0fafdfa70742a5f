-- A publication's row filter, which is all that the migration changes
CREATE TABLE sales (id integer PRIMARY KEY, region text NOT NULL);
ALTER TABLE sales REPLICA IDENTITY FULL;
CREATE PUBLICATION warehouse FOR TABLE sales (id, region) WHERE (region = 'us');
-- part: migration
ALTER PUBLICATION warehouse SET TABLE sales (id, region) WHERE (region = 'eu');
