-- A trigger, which the migration disables, and nothing else
CREATE TABLE things (id serial PRIMARY KEY, n integer);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER audit BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION f();
-- part: migration
ALTER TABLE things DISABLE TRIGGER audit;
