-- postgres_fdw: a server, a user mapping with a password, a foreign table
-- refused: not-restorable
-- names: elsewhere
-- part: superuser
CREATE EXTENSION postgres_fdw SCHEMA public;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO :"owner";
SET SESSION AUTHORIZATION :"owner";
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', dbname 'nowhere');
CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (user 'me', password 'fdw-password');
CREATE FOREIGN TABLE remote (id integer) SERVER elsewhere;
