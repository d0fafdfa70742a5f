-- An operator class and an index that uses it, which takes a superuser
-- refused: not-restorable
-- names: backwards
-- part: superuser
CREATE OPERATOR CLASS public.backwards FOR TYPE integer USING btree AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(integer, integer);
ALTER OPERATOR CLASS public.backwards USING btree OWNER TO :"owner";
ALTER OPERATOR FAMILY public.backwards USING btree OWNER TO :"owner";
