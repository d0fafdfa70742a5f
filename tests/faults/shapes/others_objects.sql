-- A schema and a table that belong to another credential
-- refused: other-credentials
-- names: tool
-- part: superuser
CREATE SCHEMA tool AUTHORIZATION :"other";
SET SESSION AUTHORIZATION :"other";
CREATE TABLE tool.syncs (id serial PRIMARY KEY, n integer);
INSERT INTO tool.syncs (n) VALUES (1), (2);
GRANT USAGE ON SCHEMA tool TO :"owner";
GRANT SELECT ON tool.syncs, tool.syncs_id_seq TO :"owner";
