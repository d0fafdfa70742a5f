-- The migration makes the database read-only for whoever comes next
-- part: migration
SELECT format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()) \gexec
