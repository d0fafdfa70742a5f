-- A user mapping, of which the migration changes the password and nothing else
-- refused: not-restorable
-- names: elsewhere
-- part: superuser
CREATE EXTENSION postgres_fdw SCHEMA public;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO :"owner";
SET SESSION AUTHORIZATION :"owner";
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1');
CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (user 'me', password 'fdw-password');
-- part: migration
ALTER USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (SET password 'another-one');
