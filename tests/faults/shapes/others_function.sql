-- A function of another credential in a schema of the owner
-- refused: other-credentials
-- names: theirs
GRANT CREATE, USAGE ON SCHEMA public TO :"other";
-- part: other
CREATE FUNCTION public.theirs() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
