-- A setting of the owner everywhere, which is all that the migration changes: a restore does not reach it
-- part: migration
SELECT format('ALTER ROLE %I SET work_mem = ''9MB''', current_user) \gexec
