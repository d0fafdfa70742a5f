-- The migration grants and revokes, and nothing else
CREATE TABLE things (id serial PRIMARY KEY, secret text);
GRANT SELECT ON things TO :"other";
-- part: migration
REVOKE ALL ON things FROM PUBLIC;
GRANT SELECT (secret), INSERT ON things TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
