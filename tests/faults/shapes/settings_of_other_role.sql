-- A setting of another credential in this database
-- differs: setting here {other} => {other}
-- part: superuser
SELECT format('ALTER ROLE %I IN DATABASE %I SET statement_timeout = ''5s''', :'other', :'database') \gexec
