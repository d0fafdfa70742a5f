-- A publication of all tables of a schema, which takes a superuser
-- refused: not-restorable
-- names: warehouse
-- part: superuser
CREATE PUBLICATION warehouse FOR TABLES IN SCHEMA public;
ALTER PUBLICATION warehouse OWNER TO :"owner";
