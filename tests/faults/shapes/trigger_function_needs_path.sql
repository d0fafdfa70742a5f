-- A trigger's function, a default and a view's function that need a search path: a load asks none of them
CREATE TABLE log (n serial, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES ('x'); RETURN NEW; END $$;
CREATE FUNCTION next_number() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM log); END $$;
CREATE TABLE entry (id integer, n bigint DEFAULT next_number());
CREATE TRIGGER noted BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO entry VALUES (1), (2);
