-- The database's comment, limit and grants, which are all that the migration changes
COMMENT ON DATABASE :"database" IS 'the shop';
-- part: migration
SELECT format('COMMENT ON DATABASE %I IS ''v2''', current_database()) \gexec
SELECT format('GRANT TEMP ON DATABASE %I TO PUBLIC', current_database()) \gexec
SELECT format('ALTER DATABASE %I CONNECTION LIMIT 50', current_database()) \gexec
