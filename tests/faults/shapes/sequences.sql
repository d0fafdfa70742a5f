-- Sequences of every kind: identity, serial, nobody's, never used, cycling, descending, set and not called
CREATE TABLE a (id integer GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 5), n serial, m smallserial);
INSERT INTO a DEFAULT VALUES;
CREATE SEQUENCE nobodys START 100;
SELECT nextval('nobodys');
CREATE SEQUENCE never_used MINVALUE 7;
CREATE SEQUENCE uncalled;
SELECT setval('uncalled', 42, false);
CREATE SEQUENCE round AS smallint MAXVALUE 3 CYCLE;
SELECT nextval('round') FROM generate_series(1, 5);
CREATE SEQUENCE down INCREMENT -3 MINVALUE -100 MAXVALUE -1 CACHE 5;
SELECT nextval('down');
CREATE TABLE parent (id integer);
CREATE SEQUENCE adopted OWNED BY parent.id;
CREATE UNLOGGED SEQUENCE hurried;
SELECT nextval('hurried');
