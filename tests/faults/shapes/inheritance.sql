-- Tables that inherit, from more than one, with columns and checks of their own
-- differs: TABLE( DATA)? public\.(ducks|geese) => ducks
CREATE TABLE animals (id serial PRIMARY KEY, name text NOT NULL CHECK (name <> ''));
CREATE TABLE swimmers (depth integer DEFAULT 3);
CREATE TABLE ducks (quack text) INHERITS (animals, swimmers);
ALTER TABLE animals ADD COLUMN born date;
ALTER TABLE ONLY swimmers ALTER COLUMN depth SET DEFAULT 9;
ALTER TABLE animals ADD CONSTRAINT only_here CHECK (id < 1000) NO INHERIT;
INSERT INTO animals (name) VALUES ('cat');
INSERT INTO ducks (name, quack) VALUES ('duck', 'quack');
CREATE TABLE geese (LIKE ducks INCLUDING ALL);
ALTER TABLE geese INHERIT animals;
