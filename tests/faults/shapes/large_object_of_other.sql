-- A large object that belongs to another credential
-- refused: other-credentials, not-restorable
-- names: 4711
-- part: other
SELECT lo_from_bytea(4711, 'large');
GRANT SELECT ON LARGE OBJECT 4711 TO :"owner";
