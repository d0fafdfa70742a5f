-- Enums with inserted labels, domains over domains, composites, arrays, ranges
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "fine"');
ALTER TYPE mood ADD VALUE 'so-so' BEFORE 'ok';
ALTER TYPE mood ADD VALUE 'great';
CREATE DOMAIN small AS integer CHECK (VALUE < 100);
CREATE DOMAIN smaller AS small DEFAULT 3 NOT NULL CHECK (VALUE < 10);
CREATE DOMAIN few AS smaller[] CHECK (array_length(VALUE, 1) < 4);
CREATE TYPE address AS (street text, number small, moods mood[]);
CREATE TYPE price AS RANGE (subtype = numeric, multirange_type_name = prices);
CREATE TABLE things (id integer PRIMARY KEY, m mood DEFAULT 'so-so', s smaller, f few, a address, p price, ps prices, many integer[][]);
CREATE INDEX things_mood ON things (m) WHERE m > 'so-so';
INSERT INTO things VALUES (1, 'great', 2, '{1,2}', ('x', 3, '{sad,ok}'), '[1.5,2)', '{[1,2),[5,)}', '{{1,2},{3,4}}');
