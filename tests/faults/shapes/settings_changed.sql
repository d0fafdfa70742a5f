-- Settings of the database and of its owner, which are all that the migration changes
SELECT format('ALTER DATABASE %I SET statement_timeout = ''45s''', :'database') \gexec
-- part: migration
SELECT format('ALTER DATABASE %I SET search_path = pg_catalog', current_database()) \gexec
SELECT format('ALTER DATABASE %I RESET statement_timeout', current_database()) \gexec
SELECT format('ALTER ROLE %I IN DATABASE %I SET work_mem = ''9MB''', current_user, current_database()) \gexec
