-- Settings of the database and of its owner in it, and a setting of the owner everywhere
SELECT format('ALTER DATABASE %I SET search_path = tenant, public', :'database') \gexec
SELECT format('ALTER DATABASE %I SET statement_timeout = ''45s''', :'database') \gexec
SELECT format('ALTER DATABASE %I SET datestyle = ''ISO, DMY''', :'database') \gexec
SELECT format('ALTER ROLE %I IN DATABASE %I SET work_mem = ''8MB''', :'owner', :'database') \gexec
SELECT format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''10min''', :'owner') \gexec
CREATE SCHEMA tenant;
CREATE TABLE tenant.things (id integer PRIMARY KEY);
INSERT INTO tenant.things VALUES (1);
