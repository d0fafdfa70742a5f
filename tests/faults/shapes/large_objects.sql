-- Large objects with content, grants and comments
SELECT lo_from_bytea(4711, 'large');
SELECT lo_from_bytea(4712, repeat('x', 100000)::bytea);
SELECT lo_create(4713);
GRANT SELECT ON LARGE OBJECT 4711 TO :"other";
GRANT SELECT, UPDATE ON LARGE OBJECT 4712 TO PUBLIC;
COMMENT ON LARGE OBJECT 4711 IS 'a picture';
