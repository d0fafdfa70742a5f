-- A large object of which the migration changes one byte
SELECT lo_from_bytea(4711, 'large');
-- part: migration
SELECT lo_put(4711, 0, 'L');
