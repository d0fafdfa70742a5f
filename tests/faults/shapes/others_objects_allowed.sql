-- A schema and a table of another credential, which the operator has allowed for
-- settings: RELEASE_ALLOW=other-credentials
-- differs: .*tool.* => tool
-- part: superuser
CREATE SCHEMA tool AUTHORIZATION :"other";
SET SESSION AUTHORIZATION :"other";
CREATE TABLE tool.syncs (id integer, n integer);
INSERT INTO tool.syncs VALUES (1, 2), (2, 2);
GRANT USAGE ON SCHEMA tool TO :"owner";
GRANT SELECT ON tool.syncs TO :"owner";
