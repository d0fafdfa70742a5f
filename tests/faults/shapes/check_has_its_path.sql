-- A CHECK whose function sets its own search path and reads no table
CREATE FUNCTION short(w text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = public AS $$ BEGIN RETURN length(w) < 5; END $$;
CREATE TABLE entry (id integer, word text CHECK (short(word)));
INSERT INTO entry VALUES (1, 'a'), (2, 'b');
